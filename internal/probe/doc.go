// Package probe asks containers how they are, with the meaning that probes
// have in a Kubernetes Pod, and carries out what they are to do before they are
// stopped.
//
// It knows no runtime: a Container reaches into one. It decides nothing: a
// Prober says what a probe found out whenever that changes, and others act. The
// daemon calls it; its methods may be called from many goroutines. A probe that
// waits for its time costs a timer and a goroutine, and nothing runs for it.
package probe
