// Package logs carries what containers write from their stdout and stderr to
// files, and from the files to whoever asks.
//
// Each stream is a FIFO in the state directory. The container gets it opened
// for reading and writing, so that its writes never meet a pipe without a
// reader (EPIPE, SIGPIPE) while no daemon runs: they wait in the pipe, and a
// later daemon opens the FIFO by its path and goes on. What a pipe holds is
// gone when its last holder closes it; a container that ends while no daemon
// runs keeps its last output only as far as something else still holds the
// FIFO open.
//
// Lines are kept in the CRI's format ("TIME stdout F text", P instead of F for
// a piece without its line's end), in two files per container of a bounded
// size. A disk that is full costs lines, which are counted and reported in the
// log, and never holds up a container. An idle stream costs one parked
// goroutine and no buffer.
//
// The daemon owns one Logs and calls it per container instance: Open or Adopt,
// then Finish; Remove for a sandbox that is no more; Close at its own end. All
// methods may be called from many goroutines.
package logs
