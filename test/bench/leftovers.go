package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leftovers is all that may be left of a sandbox.
type leftovers struct {
	pids    []int
	cgroups []string
	// in are directories none of whose entries may have name in theirs.
	in   []string
	name string
}

// gone returns when nothing is left.
func (l leftovers) gone(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for {
		left := l.left()
		if left == "" {
			return time.Now(), nil
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return time.Time{}, fmt.Errorf("waiting for %s to be gone: %s is left: %w", l.name, left, err)
		}
	}
}

// left names one thing that is left.
func (l leftovers) left() string {
	for _, dir := range l.cgroups {
		if _, err := os.Lstat(dir); err == nil {
			return dir
		}
	}
	for _, dir := range l.in {
		entries, err := os.ReadDir(dir)
		if ignoreGone(err) != nil {
			return dir
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), l.name) {
				return filepath.Join(dir, e.Name())
			}
		}
	}
	for _, pid := range l.pids {
		if unix.Kill(pid, 0) == nil {
			return fmt.Sprintf("process %d", pid)
		}
	}
	return ""
}
