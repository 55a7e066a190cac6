package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const execTarget = 0.6

// execs measures row 8: a command that ends at once, in a container that runs,
// from the client's start to its end.
func (b *bench) execs(ctx context.Context) error {
	var took [2][]float64
	err := b.withDaemon(ctx, func(o *ours) (err error) {
		var sides [2]func(bool) error
		for i, side := range []interface {
			upDown
			run(ctx context.Context, args ...string) error
		}{o, b.bare} {
			name := b.name("exec")
			if _, err := side.up(ctx, name); err != nil {
				return err
			}
			defer func() {
				_, downErr := side.down(ctx, name)
				err = errors.Join(err, downErr)
			}()
			sides[i] = func(counts bool) error {
				began := time.Now()
				if err := side.run(ctx, "exec", name, probePath, "end", "x"); err != nil {
					return err
				}
				ms(&took[i], time.Since(began), counts)
				return nil
			}
		}
		return b.pairs(ctx, "exec", b.o.n, sides)
	})
	if err != nil {
		return err
	}
	b.report.compare(8, "a command in a running container, from the client's start to its end, against `runsc exec`", took, execTarget)
	return nil
}

// run runs one command of the client.
func (o *ours) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	log, err := os.OpenFile(o.log.Name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, o.b.sandboxer, append([]string{"--socket", filepath.Join(o.state, "sandboxer.sock")}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := o.reaper.Start(cmd); err != nil {
		return err
	}
	if err := o.reaper.Wait(cmd); err != nil {
		return fmt.Errorf("sandboxer %v: %w; it said: %s", args, err, tail(o.log.Name()))
	}
	return nil
}
