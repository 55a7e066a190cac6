package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/pty"
)

// attachOptions are the flags of attach.
type attachOptions struct {
	container  string
	detachKeys string
	noStdin    bool
	sigProxy   bool
}

func (c *cli) attachCommand() *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:   "attach NAME[/CONTAINER]",
		Short: "Connect to the command of a running container",
		Long: `Shows what the command of a running container writes from now on, and ends with
its exit code, or with 128 + N where signal N ended it. All of it is in the log
as well.

What is typed, or piped in, goes to a container that is declared with
stdin: true; with terminal: true its terminal follows the size of yours, and the
keys of --detach-keys leave it. Signals are passed on, so that Ctrl-C ends a
command that has no terminal; --sig-proxy=false leaves it alone.`,
		Example: "  sandboxer attach web\n  sandboxer attach web/shell --detach-keys ctrl-x,d\n" +
			"  sandboxer attach web --sig-proxy=false --no-stdin",
		Args:              args(cobra.ExactArgs(1), "one NAME"),
		ValidArgsFunction: c.completeTargets(1, runs),
		RunE: func(cmd *cobra.Command, list []string) error {
			keys, err := parseKeys(o.detachKeys)
			if err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			return c.attach(cmd.Context(), client, list[0], o, keys)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.container, "container", "c", "", "which container, where there are several; as NAME/CONTAINER")
	f.StringVar(&o.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "what to type at a terminal to leave it: characters and ctrl-CHARACTERs")
	f.BoolVar(&o.noStdin, "no-stdin", false, "do not let the command read this program's stdin")
	f.BoolVar(&o.sigProxy, "sig-proxy", true, "pass signals on; else they detach")
	_ = cmd.RegisterFlagCompletionFunc("container", c.completeContainer(runs)) // it has none yet
	return cmd
}

// parseKeys reads a list of keys, such as ctrl-p,ctrl-q. An empty one is none.
func parseKeys(list string) (keys []byte, err error) {
	if list == "" {
		return nil, nil
	}
	for key := range strings.SplitSeq(list, ",") {
		char, ctrl := strings.CutPrefix(key, "ctrl-")
		switch {
		case len(char) != 1 || char[0] < ' ' || char[0] > '~', ctrl && (char[0] < '@' || char[0] > '_') && (char[0] < 'a' || char[0] > 'z'):
			return nil, usagef("--detach-keys %s: want characters and ctrl-CHARACTERs with commas between, such as ctrl-p,ctrl-q", list)
		case ctrl:
			keys = append(keys, char[0]&0x1f)
		default:
			keys = append(keys, char[0])
		}
	}
	return keys, nil
}

// attach connects to a container's command and ends as it does.
func (c *cli) attach(ctx context.Context, client *api.Client, name string, o attachOptions, keys []byte) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	detach := func() { giveUp(nil) }
	defer detach()
	signals := forward(giveUp)
	signal.Ignore(unix.SIGPIPE) // a reader that leaves ends nothing but this
	t, session, err := c.join(ctx, client, name, o, signals)
	if by, ok := interruption(ctx); ok && err != nil {
		c.say("sandboxer: %s came before %s was attached to", desired.SignalName(by), name)
		return by.code()
	}
	if err != nil {
		return err
	}
	defer session.Close()
	container := nameOf(session.ContainerID)
	send := func(sig unix.Signal) {
		sendSignal(ctx, client, t.sandbox.Name, container, api.KillRequest{Signal: strconv.Itoa(int(sig)),
			ContainerID: session.ContainerID, Foreground: session.Terminal})
	}
	var term *tty
	if session.Terminal {
		if term, err = attachTerminal(session.Input); err != nil {
			return err
		}
		defer term.close()
		if term.resize() {
			send(unix.SIGWINCH)
		}
	}
	if session.Stdin && !o.noStdin {
		if term != nil {
			term.takeOver(os.Stdin)
			go term.carry(&leaver{in: os.Stdin, keys: keys, leave: detach}, send)
		} else {
			go func() { _, _ = io.Copy(session.Input, os.Stdin) }() // a command need not read all
		}
	}
	signals.to(func(sig unix.Signal) {
		switch {
		case sig == unix.SIGWINCH:
			if term != nil && term.resize() {
				send(sig)
			}
		case sig == unix.SIGHUP || !o.sigProxy && sig != unix.SIGCONT:
			detach()
		default:
			send(sig)
		}
	})
	end, err := follow(ctx, session)
	if term != nil {
		term.close() // before anything is said
	}
	whom := t.sandbox.Name + "/" + container
	switch {
	case ctx.Err() != nil:
		c.say("sandboxer: detached from %s, which goes on", whom)
		return nil
	case errors.Is(err, api.ErrCut):
		return fmt.Errorf("the daemon went away; %s goes on: attach again when the daemon is back", whom)
	case err != nil:
		return err
	case end.Gone:
		c.say("sandboxer: sandbox %q ended, and the command with it", t.sandbox.Name)
		return exitCode(128 + int(unix.SIGKILL))
	case end.Error != "":
		return fmt.Errorf("detached from %s: %s; \"sandboxer logs %s\" has all that it writes", whom, end.Error, whom)
	}
	return exitCode(end.ExitCode)
}

// join opens a session with the command of the container that is meant.
func (c *cli) join(ctx context.Context, client *api.Client, name string, o attachOptions, signals *forwarder) (t target, session *api.AttachSession, err error) {
	if t, err = lookUpWhole(ctx, client, name); err != nil {
		return t, nil, err
	}
	if t.container, err = oneContainer(t.container, o.container); err != nil {
		return t, nil, err
	}
	<-signals.taken // else one that comes now ends this program
	session, err = client.Attach(ctx, t.sandbox.Name, t.container)
	return t, session, err
}

// follow shows what comes until the end, or until ctx is done.
func follow(ctx context.Context, session *api.AttachSession) (end api.AttachEnd, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for i, to := range []*os.File{os.Stdout, os.Stderr} {
			all.Go(func() {
				_, _ = io.Copy(to, session.Output[i])
				session.Output[i].Close() // nobody takes it any more
			})
		}
		end, err = session.Wait()
		all.Wait()
	}()
	select {
	case <-done:
		return end, err
	case <-ctx.Done():
		return api.AttachEnd{}, ctx.Err()
	}
}

// attachTerminal is the terminal that a container has already.
func attachTerminal(master *os.File) (*tty, error) {
	if master == nil {
		return nil, errors.New("the daemon sent no terminal")
	}
	slave, err := pty.Slave(int(master.Fd()))
	if err != nil {
		return nil, err
	}
	return &tty{master: master, slave: slave, ours: ourTerminal()}, nil
}

// leaver reads what is typed up to a sequence of keys.
type leaver struct {
	in    io.Reader
	keys  []byte
	leave func()
	typed int // how many of the keys were typed, and are held back
}

// Read does not return once the keys were typed: the end of what is typed would
// mean something to the command.
func (l *leaver) Read(b []byte) (int, error) {
	in := make([]byte, len(b)-len(l.keys)) // what was held back may come before
	n, err := l.in.Read(in)
	out := b[:0]
	for _, char := range in[:n] {
		if len(l.keys) > 0 && char == l.keys[l.typed] {
			if l.typed++; l.typed == len(l.keys) {
				l.leave()
				select {}
			}
			continue
		}
		out = append(out, l.keys[:l.typed]...)
		if l.typed = 0; len(l.keys) > 1 && char == l.keys[0] {
			l.typed = 1
		} else {
			out = append(out, char)
		}
	}
	return len(out), err
}
