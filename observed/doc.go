// Package observed says what is: the records of sandboxes and containers, the
// processes behind them, their cgroups, scores and exits, as one snapshot per
// sandbox.
//
// It changes nothing that it looks at. It knows no runtime (what only a
// runtime can answer comes through the Prober that its caller supplies) and
// imports no other package of this project than sealed. A look that failed is
// an error, never an empty world. All methods may be called from many
// goroutines.
package observed
