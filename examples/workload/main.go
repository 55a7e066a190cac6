// Command workload is what runs in the sandboxes of the examples and the
// system tests: one small static program that needs nothing of the root file
// system it is put into. Its commands can be put one after the other:
//
//	workload print hello then sleep
//
// SIGTERM and SIGINT end it with status 0 unless a command says otherwise.
package main

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	// A program that is asked to end cleans up and ends with 0. Without this
	// the signal would end it, here too: gVisor does not shield a container's
	// first process from signals that it does not handle, as Linux does.
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		say("ended by", (<-term).String())
		os.Exit(0)
	}()
	if len(os.Args) < 2 {
		usage()
	}
	for _, words := range split(os.Args[1:]) {
		run(words[0], words[1:])
	}
}

// split cuts the command line at every "then".
func split(args []string) (list [][]string) {
	var words []string
	for _, a := range append(args, "then") {
		if a != "then" {
			words = append(words, a)
			continue
		}
		if len(words) == 0 {
			usage()
		}
		list, words = append(list, words), nil
	}
	return list
}

// run carries out one command. One that fails says why and ends the program
// with status 1.
func run(name string, args []string) {
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		if len(args) < c.least {
			usage()
		}
		if err := c.do(args); err != nil {
			complain(name + ": " + err.Error())
			os.Exit(1)
		}
		return
	}
	complain("unknown command " + name)
	usage()
}

// command is one word of the command line and what follows it.
type command struct {
	name, args, help string
	least            int // the number of arguments that it needs
	do               func(args []string) error
}

func commands() []command {
	return append([]command{
		{"sleep", "[SECONDS]", "wait, for ever if not said how long", 0, sleep},
		{"spin", "SECONDS", "keep a CPU busy", 1, spin},
		{"exit", "CODE [SECONDS]", "end with CODE, at once or later", 1, exit},
		{"ignore-term", "", "ignore SIGTERM from now on", 0, ignoreTerm},
		{"exit-on-term", "CODE", "from now on, end with CODE on SIGTERM", 1, exitOnTerm},
		{"print", "TEXT…", "write a line to stdout", 0, print},
		{"complain", "TEXT…", "write a line to stderr", 0, warn},
		{"tick", "[SECONDS]", "count, a line each second", 0, tick},
		{"flood", "LINES", "write numbered lines as fast as can be", 1, flood},
		{"pour", "LINES MB", "write numbered lines to stdout and the same to stderr, at most so many MB a second", 2, pour},
	}, slices.Concat(fileCommands(), hostCommands(), talkCommands(), socketCommands(), serveCommands(), rightsCommands(), sharedCommands(), bombCommands(), heapCommands())...)
}

func usage() {
	complain("usage: workload COMMAND [ARGUMENT…] [then COMMAND …]")
	for _, c := range commands() {
		complain("  " + c.name + " " + c.args + "\t" + c.help)
	}
	os.Exit(2)
}

// seconds waits for as long as the first of args says; no args: otherwise.
func seconds(args []string, otherwise time.Duration) (time.Duration, error) {
	if len(args) == 0 {
		return otherwise, nil
	}
	return time.ParseDuration(args[0] + "s")
}
