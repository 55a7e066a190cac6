// Command sandboxer is the daemon, its client and, under other names, the
// processes that sandboxes are made of: one binary for all.
//
// This package is wiring and commands only: flags in, text out. Every command
// but daemon, validate, schema, version and completion is a client of the
// daemon's API and nothing more (debug dump also reads a daemon's directories,
// where that does not answer). Exit codes: 0 done, 1 failed, 2 wrong usage.
package main
