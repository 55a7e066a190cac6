package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"sandboxer/desired"
)

// ErrUnknown says that nobody could be asked, so that nothing is known: the
// container does not run any more, or its runtime does not answer.
var ErrUnknown = errors.New("the container can't be asked")

// Container reaches into one instance of a container. Errors other than
// ErrUnknown say how it fails.
type Container interface {
	// Exec runs a command in it, as its own user and in its own environment,
	// and returns the exit code. What the command writes is written to output;
	// errors of that are of no matter. When ctx is done the command is killed
	// before Exec returns.
	Exec(ctx context.Context, command []string, output io.Writer) (code int, err error)
	// Dial connects to a TCP port of host; empty: of the container itself.
	Dial(ctx context.Context, host string, port int) (net.Conn, error)
}

// What is read of an answer, in bytes, more of which is dropped, and what is
// said of it, in characters.
const (
	outputMax  = 10 << 10
	quoteMax   = 200
	messageMax = 500
)

// ask carries out a probe. Nil: it succeeds.
func ask(ctx context.Context, c Container, p *desired.Probe) error {
	limit := time.Duration(p.TimeoutSeconds) * time.Second
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	switch {
	case p.Exec != nil:
		err = run(timed, c, p.Exec)
	case p.HTTPGet != nil:
		err = get(timed, c, p.HTTPGet)
	case p.TCPSocket != nil:
		err = connect(timed, c, p.TCPSocket)
	}
	if err != nil && timed.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrUnknown) {
		return fmt.Errorf("no answer within %s", limit)
	}
	return err
}

// PreStop does what a container is to do before it is stopped.
func PreStop(ctx context.Context, c Container, p *desired.PreStop) error {
	switch {
	case p.Exec != nil:
		return run(ctx, c, p.Exec)
	case p.HTTPGet != nil:
		return get(ctx, c, p.HTTPGet)
	case p.Sleep != nil:
		select {
		case <-time.After(time.Duration(p.Sleep.Seconds) * time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func run(ctx context.Context, c Container, e *desired.ExecAction) error {
	out := &beginning{}
	code, err := c.Exec(ctx, e.Command, out)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d%s", code, out.quote())
	}
	return err
}

func connect(ctx context.Context, c Container, t *desired.TCPSocketAction) error {
	conn, err := c.Dial(ctx, t.Host, int(t.Port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// beginning keeps the first bytes that are written to it.
type beginning struct{ b []byte }

func (o *beginning) Write(b []byte) (int, error) {
	o.b = append(o.b, b[:min(len(b), outputMax-len(o.b))]...)
	return len(b), nil
}

// quote is what was written, short and on one line, to follow what it explains.
func (o *beginning) quote() string {
	if text := oneLine(string(o.b), quoteMax); text != "" {
		return ": " + text
	}
	return ""
}

// oneLine makes words of others fit for a message, with at most so many
// characters.
func oneLine(text string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	clean = strings.Join(strings.Fields(clean), " ")
	if runes := []rune(clean); len(runes) > most {
		clean = string(runes[:most]) + "…"
	}
	return clean
}
