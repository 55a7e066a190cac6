// Package entry is the program's entry point where it is linked with
// -ldflags=-E=_rt0_sandboxer: it registers the process for membarrier(2) and
// goes on to Go's own entry point.
//
// A package of gVisor's kernel registers whatever process links it, at its
// initialisation. The Linux kernel registers a process with several threads
// only after a grace period of RCU, 7 to 17 ms, and one with a single thread at
// once; a Go program has several before any code of its own runs.
//
// The same file can hold a second program: the client alone, linked for other
// addresses and put behind the first by the command join. Where the command
// line asks for one of the client's commands, the entry point maps it and goes
// on there. All that gVisor's packages do at their initialisation is most of the
// time in which a small command runs, and a client needs none of it.
//
// The package is linked in by importing it. A program that was linked without
// the flag does the same, later by those milliseconds.
package entry
