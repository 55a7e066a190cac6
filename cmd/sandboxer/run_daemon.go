package main

import (
	"context"
	"errors"
)

// runDaemon runs the daemon until ctx is done.
func runDaemon(context.Context, daemonOptions) error {
	return errors.New("this build has no daemon")
}
