// Package entry is the program's entry point where it is linked with
// -ldflags=-E=_rt0_sandboxer: it does before Go what would be most of the time of
// small commands and helpers, the initialisation of all of gVisor's packages.
//
// The helper that unmounts a sentry's /proc is nothing but this package, and a
// sentry's capabilities are bounded here while it is one thread.
//
// The same file can hold a second program: the client alone, linked for other
// addresses and put behind the first by the command join. Where the command
// line asks for one of the client's commands, the entry point maps it and goes
// on there. In all other cases Go's own entry point follows.
//
// The package is linked in by importing it. A program that was linked without
// the flag does the same, more slowly.
package entry
