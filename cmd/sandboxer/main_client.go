//go:build client

package main

import (
	"context"
	"errors"
	"os"
)

// The program of the commands that internal/entry leaves to it: they start
// without all that sandboxes are made of.
func main() {
	os.Exit(command(os.Args[1:], cli{stdout: os.Stdout, stderr: os.Stderr,
		runDaemon: func(context.Context, daemonOptions) error { return errors.New("this is the client alone") }}))
}
