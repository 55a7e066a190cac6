// Package oom says which OOM score a sandbox's processes should have, and
// writes it.
//
// Score is pure and may be called by the planner. Apply and Read touch one
// process each, through a descriptor of its /proc directory that has been
// proved to be the one that is meant; a bare pid is never written to. All
// functions may be called from many goroutines.
package oom
