package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/api"
)

// startPatience is how long a signal waits for what is being started.
const startPatience = 2 * time.Second

// forwarder takes the signals that this program is sent, to hand them on, until
// the program ends.
type forwarder struct {
	signals chan os.Signal
	ready   chan func(unix.Signal)
	// taken is closed once none does any more what it does by default.
	taken chan struct{}
}

// interrupted is a signal that came before it could be passed on.
type interrupted unix.Signal

func (i interrupted) Error() string {
	return desired.SignalName(i) + " came before the command was started"
}

// code is what this program ends with then, as a command does that a signal ends.
func (i interrupted) code() exitCode { return exitCode(128 + int(i)) }

// interruption says whether a signal had ctx given up, and which.
func interruption(ctx context.Context) (by interrupted, ok bool) {
	ok = errors.As(context.Cause(ctx), &by)
	return by, ok
}

// forward begins to take signals. They wait until to is called; where that
// takes long, giveUp is called with the first of them, an interrupted. Each signal that a Go program takes costs it
// two changes of threads, so this does not wait for them: see taken.
func forward(giveUp context.CancelCauseFunc) *forwarder {
	f := &forwarder{signals: make(chan os.Signal, 16), ready: make(chan func(unix.Signal)), taken: make(chan struct{})}
	go f.run(giveUp)
	return f
}

func (f *forwarder) run(giveUp context.CancelCauseFunc) {
	signal.Notify(f.signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGALRM, unix.SIGCONT, unix.SIGWINCH)
	close(f.taken)
	var send func(unix.Signal)
	var waiting []unix.Signal
	var late <-chan time.Time
	var first interrupted
	for {
		select {
		case send = <-f.ready:
			late = nil
			for _, s := range waiting {
				send(s)
			}
		case s := <-f.signals:
			switch {
			case send != nil:
				send(s.(unix.Signal))
			case s == unix.SIGWINCH:
				waiting = append(waiting, unix.SIGWINCH)
			case s != unix.SIGCONT:
				waiting = append(waiting, s.(unix.Signal))
				if late == nil {
					first, late = interrupted(s.(unix.Signal)), time.After(startPatience)
				}
			}
		case <-late:
			giveUp(first)
		}
	}
}

// to hands signals to send from now on, one after the other.
func (f *forwarder) to(send func(unix.Signal)) { f.ready <- send }

// sendSignal passes a signal on. It waits for a daemon that is away, or that
// has begun and does not know its sandboxes yet; one that goes while it is
// asked may have sent the signal, which is then sent twice. What a daemon
// refuses, most likely since the command has ended, is nobody's concern.
func sendSignal(ctx context.Context, client *api.Client, sandbox, container string, r api.KillRequest) {
	ctx, cancel := context.WithTimeout(ctx, retryFor)
	defer cancel()
	for {
		err := client.Kill(ctx, sandbox, container, r)
		var refused *api.Error
		if err == nil || errors.As(err, &refused) && refused.Code != http.StatusServiceUnavailable && refused.Code != http.StatusNotFound {
			return
		}
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
			return
		}
	}
}
