// Package reconcile decides and keeps deciding: Plan is a pure function from
// what is declared, what is observed and what is remembered to the next
// actions; Loop runs it per sandbox, level-triggered.
//
// It never touches the host (no os, no runtime, no gVisor): it sees the world
// through Looker and changes it through Actor. Plan has no clock, randomness,
// log or I/O. Loop runs one worker per sandbox at a time and many sandboxes at
// once.
package reconcile
