// Package gofer starts gofers and keeps what their containers need of them.
//
// A gofer is one process per container that opens files for the sentry
// (package serve is its inside). The daemon creates each pair of sockets,
// gives one end to the sentry, a duplicate of the other to the gofer and holds
// on to that other end: as long as somebody holds it the sentry sees no
// hang-up, so that a gofer's death does not kill its container.
//
// It knows no sandboxes, records or plans: the actuator calls it. All
// functions may be called from many goroutines.
package gofer
