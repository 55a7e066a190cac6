// Package logs carries what containers write from their stdout and stderr to
// files, and from the files to whoever asks.
//
// Each stream is a FIFO in the state directory. The container gets it opened
// for reading and writing, so that its writes never meet a pipe without a
// reader (EPIPE, SIGPIPE) while no daemon runs: they wait in the pipe, and a
// later daemon opens the FIFO by its path and goes on. What a pipe holds is
// gone when its last holder closes it: see Readers.
//
// On its way into a log, text is always in a file or a pipe, never in this
// process alone: see spool. A daemon that is killed loses and doubles nothing.
//
// Lines are kept in the CRI's format ("TIME stdout F text", P instead of F for
// a piece of a line that is longer than 16 KiB, or whose end did not come within
// a second), in a bounded number of files of a bounded size. Beside F and P
// there are entries of our own: F:start where an instance of the container
// begins, F:note for what was lost. A line that a power cut tore is ended and
// passed over.
//
// A disk that is full costs lines, which are counted, told (Config.Changed,
// Losing), reported in the log as soon as it can be written, and never holds up
// a container. An idle stream costs one parked goroutine and no buffer.
//
// The daemon owns one Logs and calls it per container instance: Open or Adopt,
// then Finish; Remove for a sandbox that is no more; Close at its own end. All
// methods may be called from many goroutines. Locks are taken in the order
// Logs.mu, sink.mu.
package logs
