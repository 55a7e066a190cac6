//go:build !client

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// surround frees this process and all that it starts from the umask and the
// small limits that it happens to have been started with.
func surround(log logr.Logger) error {
	unix.Umask(0o022)
	return raiseLimits(log)
}

// unblockSignals must come before all else. It executes this program again where it was started with signals
// blocked: each of its threads has them blocked from its beginning, and so has
// every process that it starts.
func unblockSignals() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none, before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, &before); err != nil {
		return fmt.Errorf("unblocking signals: %w", err)
	}
	if before == none {
		return nil
	}
	exe, err := os.Executable()
	if err == nil {
		err = unix.Exec(exe, os.Args, os.Environ())
	}
	return fmt.Errorf("unblocking signals: %w", err)
}

// raiseLimits raises this process's limits, which all that it starts inherits,
// as far as it may, and tells of those that sandboxes will meet.
func raiseLimits(log logr.Logger) error {
	for _, l := range []struct {
		resource      int
		name, option  string
		least, enough uint64
	}{
		// The gofers' program is kept under a high number; a container takes
		// about ten.
		{unix.RLIMIT_NOFILE, "open files", "LimitNOFILE", 1 << 10, 1 << 14},
		// A sandbox's memory is a file, which grows by a GiB.
		{unix.RLIMIT_FSIZE, "bytes per file", "LimitFSIZE", 2 << 30, unix.RLIM_INFINITY},
		// Each timer of a sentry is one.
		{unix.RLIMIT_SIGPENDING, "pending signals", "LimitSIGPENDING", 1 << 8, 1 << 13},
		{unix.RLIMIT_NPROC, "processes and threads", "LimitNPROC", 0, 1 << 14},
		// What programs may be given as arguments and environment is a quarter.
		{unix.RLIMIT_STACK, "bytes of stack", "LimitSTACK", 0, 8 << 20},
		{unix.RLIMIT_AS, "bytes of address space", "LimitAS", 0, unix.RLIM_INFINITY},
		{unix.RLIMIT_DATA, "bytes of data", "LimitDATA", 0, unix.RLIM_INFINITY},
		{unix.RLIMIT_CPU, "seconds of CPU time", "LimitCPU", 0, unix.RLIM_INFINITY},
	} {
		got, err := raiseLimit(l.resource, l.enough)
		if err != nil {
			return fmt.Errorf("the limit of %s: %w", l.name, err)
		}
		raise := "raise it with ulimit or, of the unit, " + l.option + "="
		if got < l.least {
			return fmt.Errorf("the limit of %s is %d, less than the %d that the daemon needs: %s", l.name, got, l.least, raise)
		}
		if got < l.enough {
			log.Info("a limit is low, and holds for sandboxes too", "limit", l.name, "value", got, "reason", raise)
		}
	}
	return nil
}

// raiseLimit raises a limit to enough, or as far as the hard one where that
// can't be raised, and returns what is in force.
func raiseLimit(resource int, enough uint64) (uint64, error) {
	var is unix.Rlimit
	if err := unix.Getrlimit(resource, &is); err != nil {
		return 0, err
	}
	if is.Cur >= enough {
		return is.Cur, nil
	}
	if is.Max >= enough {
		is.Cur = is.Max
		return is.Cur, unix.Setrlimit(resource, &is)
	}
	if unix.Setrlimit(resource, &unix.Rlimit{Cur: enough, Max: enough}) == nil {
		return enough, nil
	}
	is.Cur = is.Max
	return is.Cur, unix.Setrlimit(resource, &is)
}

// untilEnded returns a context that is done once the daemon is asked to end:
// by SIGTERM, SIGINT, or, as its terminal is closed, SIGHUP, unless that was
// ignored when it started (nohup). SIGQUIT shows what all goroutines do
// before, also while the daemon ends; a second one ends it at once.
func untilEnded(ctx context.Context, log logr.Logger) (context.Context, func()) {
	ctx, end := context.WithCancel(ctx)
	over := make(chan struct{})
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	if !signal.Ignored(unix.SIGHUP) {
		signal.Notify(signals, unix.SIGHUP)
	}
	heedNoPipes()
	go func() {
		for {
			select {
			case sig := <-signals:
				log.Info("ending", "reason", unix.SignalName(sig.(unix.Signal)))
				if sig == unix.SIGQUIT {
					signal.Reset(unix.SIGQUIT)
					_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2) // who is to read it may be gone
				}
				end()
			case <-over:
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(over); end() }
}

// heedNoPipes has a write to a standard file that nobody reads any more fail
// instead of ending the process. What is ignored would be so in all that this
// process starts.
func heedNoPipes() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }
