// Package events keeps what happened and why: a bounded log, in memory for
// reading and in a file of JSON lines so that a restart forgets nothing.
//
// An event is worth nothing if recording it can hurt: Append never fails and
// never waits for a reader, and where the disk refuses, the event stays in
// memory and the refusal is counted. Nothing is fsync'd; a power cut may cost
// the last events. The daemon appends, the API lists and follows. All methods
// may be called from many goroutines.
package events
