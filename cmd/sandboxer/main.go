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
	return command(args[1:], cli{stdout: os.Stdout, stderr: os.Stderr, runDaemon: runDaemon})
}
