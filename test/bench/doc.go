// Command bench measures sandboxer against bare runsc, pair by pair in one
// run, and prints a table in Markdown with medians, spreads, ratios and the
// targets. Run it as root:
//
//	make bench
//	go run ./test/bench -n 15 -json figures.json
//	go run ./test/bench -only 1,2 -n 5
//
// Both sides run the same bundles, with the same program on the same root file
// system. The runsc beside it is built from the gVisor that go.mod pins. The
// benchmark is a child subreaper that reaps at once: under a parent that
// doesn't, runsc's delete waits for the parent. The daemon runs with
// --settle 0s and --deletion-guard 1, because what a removal costs is of
// interest and not how long the daemon makes sure that it is meant.
//
// The command a container runs creates a file in a volume as its first act;
// an inotify watch on the host tells when. That a sandbox is gone is told by
// looking every 200 µs, on both sides alike: no process, no cgroup, no record.
//
// How long a gofer's replacement holds up file work is told by a probe that
// works on files in two loops, one of operations that do not ask the gofer and
// one of requests to it, and logs the longest of every 20 ms. The longest from
// the kill of a gofer, or from the request for a new one, until that serves
// stands beside the longest of as much time in which nothing happens: on a
// machine that has other work that alone can be milliseconds. What holding
// costs is told by the same operations with daemon and keeper and while both
// are dead, when nobody but the gofer has its sockets.
package main
