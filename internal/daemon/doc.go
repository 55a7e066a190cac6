// Package daemon puts the parts together: manifest directories, the loop, the
// actuator and the API, in one process that may be killed at any moment and
// started again without a sandbox noticing.
//
// It decides nothing itself. The command line's daemon command is its only
// caller; one daemon runs per state directory, and one per process.
package daemon
