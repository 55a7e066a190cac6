//go:build !client

package main

import (
	"os"

	_ "sandboxer/internal/entry" // what the Makefile links the program with
	"sandboxer/internal/role"
)

func main() { os.Exit(run(os.Args)) }

// run chooses the role that the binary plays by what it was started as.
func run(args []string) int {
	if status, ok := role.Run(args); ok {
		return status
	}
	if len(args) > 1 && (args[0] == runArg0 || args[0] == clearArg0) {
		return runMain(args[1], args[0] == clearArg0)
	}
	return command(args[1:], cli{stdout: os.Stdout, stderr: os.Stderr, runDaemon: runDaemon})
}
