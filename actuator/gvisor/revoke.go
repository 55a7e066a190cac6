package gvisor

import (
	"context"
	"errors"
	"os"
	"strings"

	"sandboxer/internal/sentry"
)

// ErrHeld says that somebody else has the sandbox's tasks stopped.
var ErrHeld = errors.New(sentry.ErrHeld)

// Hold stops all tasks of a sandbox until Go, for sentry.HoldTime at most. The error
// wraps ErrNotThere where the sentry can't, ErrHeld where another one holds them.
func (s Sentry) Hold(ctx context.Context) error {
	err := s.sink(ctx, sentry.RevokeSink, map[string]any{"stop": true})
	if err != nil && strings.HasSuffix(err.Error(), sentry.ErrHeld) {
		return ErrHeld
	}
	return err
}

// Take puts something else in the place of descriptors of the sentry's, which are of
// directories or regular files, while tasks are held; with mapped, also in the place
// of what is mapped of them. instead is a directory that holds a directory and a file
// of the names.
func (s Sentry) Take(ctx context.Context, open []sentry.Descriptor, mapped bool, instead *os.File, dir, file string) error {
	return s.sink(ctx, sentry.RevokeSink, map[string]any{"take": open, "mapped": mapped, "directory": dir, "file": file}, instead)
}

// Go ends a Hold; an error where it had ended before.
func (s Sentry) Go(ctx context.Context) error {
	return s.sink(ctx, sentry.RevokeSink, map[string]any{"go": true})
}
