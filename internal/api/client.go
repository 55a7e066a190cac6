package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sandboxer/internal/events"
	"sandboxer/internal/logs"
)

// ErrCut says that a stream ended before its end: the daemon stopped, or the
// connection broke.
var ErrCut = errors.New("the daemon ended the connection")

// Client talks to a daemon.
type Client struct {
	socket string
	dialer net.Dialer
	http   *http.Client
}

// NewClient returns a client of the daemon at socket. It connects when it is
// asked something; Close gives up idle connections.
func NewClient(socket string) *Client {
	c := &Client{socket: socket, dialer: net.Dialer{Timeout: 5 * time.Second}}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}}
	return c
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	return c.dialer.DialContext(ctx, "unix", c.socket)
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// List returns every sandbox, sorted by name.
func (c *Client) List(ctx context.Context) (l List, err error) {
	return l, c.ask(ctx, "GET", "/v1/sandboxes", nil, &l)
}

// ListFresh is List after the manifests were read, and the sandbox of that name
// was looked at, anew. A daemon of an earlier version, which does not know how to,
// says what it has seen.
func (c *Client) ListFresh(ctx context.Context, name string) (l List, err error) {
	err = c.ask(ctx, "GET", "/v1/sandboxes?"+query("fresh", name), nil, &l)
	if errors.Is(err, ErrInvalid) {
		return c.List(ctx)
	}
	return l, err
}

// Get returns one sandbox; ErrNotFound if there is none of that name.
func (c *Client) Get(ctx context.Context, name string) (sb Sandbox, err error) {
	return sb, c.ask(ctx, "GET", "/v1/sandboxes/"+url.PathEscape(name), nil, &sb)
}

// Describe returns everything about one sandbox; ErrNotFound if there is none.
func (c *Client) Describe(ctx context.Context, name string) (d Description, err error) {
	return d, c.ask(ctx, "GET", "/v1/sandboxes/"+url.PathEscape(name)+"/describe", nil, &d)
}

// Events returns the kept events of a sandbox, or of all for "".
func (c *Client) Events(ctx context.Context, sandbox string) ([]events.Event, error) {
	var l EventList
	err := c.ask(ctx, "GET", "/v1/events?"+query("sandbox", sandbox), nil, &l)
	return l.Items, err
}

// Restart asks for a sandbox's containers to be started anew, or for their
// gofers; container "" means all. It does not wait.
func (c *Client) Restart(ctx context.Context, sandbox, container string, gofers bool) (v Restarted, err error) {
	return v, c.ask(ctx, "POST", "/v1/sandboxes/"+url.PathEscape(sandbox)+"/restart?"+
		query("container", container, "gofer", flag(gofers)), nil, &v)
}

// ConfirmDeletions lets held deletions go ahead: those of names or, without any,
// all.
func (c *Client) ConfirmDeletions(ctx context.Context, names []string) (v Confirmation, err error) {
	return v, c.ask(ctx, "POST", "/v1/confirm-deletions", ConfirmRequest{Names: names}, &v)
}

// Plan asks what would be done if paths (absolute) were the manifests.
func (c *Client) Plan(ctx context.Context, paths []string) (p Plan, err error) {
	return p, c.ask(ctx, "POST", "/v1/plan", PlanRequest{Paths: paths}, &p)
}

// Processes lists what runs in a sandbox, or in one of its containers.
func (c *Client) Processes(ctx context.Context, sandbox, container string) ([]Process, error) {
	var l ProcessList
	err := c.ask(ctx, "GET", "/v1/sandboxes/"+url.PathEscape(sandbox)+"/processes?"+query("container", container), nil, &l)
	return l.Items, err
}

// Stats says what a sandbox uses now.
func (c *Client) Stats(ctx context.Context, sandbox string) (v Stats, err error) {
	return v, c.ask(ctx, "GET", "/v1/sandboxes/"+url.PathEscape(sandbox)+"/stats", nil, &v)
}

// Kill signals a container, or one of its processes; container may be empty
// where there is only one.
func (c *Client) Kill(ctx context.Context, sandbox, container string, r KillRequest) error {
	return c.ask(ctx, "POST", "/v1/sandboxes/"+url.PathEscape(sandbox)+"/kill?"+query("container", container), r, &struct{}{})
}

// Version returns the daemon's.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	return v, c.ask(ctx, "GET", "/v1/version", nil, &v)
}

// Watch calls fn for every sandbox as it is and for every change, until ctx is
// done, fn fails, or the connection breaks (ErrCut). With a name it is that
// sandbox alone, and fn is first told how it is, also that there is none.
func (c *Client) Watch(ctx context.Context, name string, fn func(Change) error) error {
	path := "/v1/sandboxes"
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	return follow(ctx, c, path+"?watch=1", fn)
}

// FollowEvents calls fn for every kept event and for every new one, until ctx
// is done, fn fails, or the connection breaks (ErrCut).
func (c *Client) FollowEvents(ctx context.Context, sandbox string, fn func(events.Event) error) error {
	return follow(ctx, c, "/v1/events?"+query("follow", "1", "sandbox", sandbox), fn)
}

// Logs copies a container's output to w; container may be empty where there is
// only one.
func (c *Client) Logs(ctx context.Context, sandbox, container string, o logs.Options, w io.Writer) error {
	tail, since := "", ""
	if o.Tail >= 0 {
		tail = strconv.Itoa(o.Tail)
	}
	if !o.Since.IsZero() {
		since = o.Since.UTC().Format(time.RFC3339Nano)
	}
	body, err := c.do(ctx, "GET", "/v1/sandboxes/"+url.PathEscape(sandbox)+"/logs?"+query("container", container,
		"follow", flag(o.Follow), "timestamps", flag(o.Timestamps), "previous", flag(o.Previous), "entries", flag(o.Entries),
		"tail", tail, "since", since, "after", o.After), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, cutReader{body})
	return ended(ctx, err)
}

// query makes a query string of the pairs whose value is not empty.
func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v.Encode()
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// follow decodes a stream of JSON lines.
func follow[T any](ctx context.Context, c *Client, path string, fn func(T) error) error {
	body, err := c.do(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(cutReader{body}); ; {
		var v T
		if err := dec.Decode(&v); err != nil {
			if err == io.EOF {
				err = ErrCut
			}
			return ended(ctx, err)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
}

// cutReader tells a connection that breaks from a writer that fails.
type cutReader struct{ r io.Reader }

// Read makes every error but the end ErrCut.
func (c cutReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	switch {
	case err == io.ErrUnexpectedEOF:
		err = ErrCut
	case err != nil && err != io.EOF:
		err = cut(err)
	}
	return n, err
}

// cut is ErrCut with the cause, but for the path that the socket was bound to:
// nobody knows that.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return fmt.Errorf("%w: %w", ErrCut, err)
}

// ended prefers the caller's own reason for a stream's end.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// ask sends a request and decodes the answer, both within twice what the
// server allows itself.
func (c *Client) ask(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	r, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := json.NewDecoder(r).Decode(answer); err != nil {
		if ctx.Err() == nil && isCut(err) {
			return fmt.Errorf("asking the daemon on %s: %w", c.socket, cut(err))
		}
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}

// How long, and how often, a daemon is asked again that can't answer now: one
// that is starting is done soon.
const (
	busyFor   = 10 * time.Second
	busyEvery = 100 * time.Millisecond
)

func (c *Client) do(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var busy *Error // what was answered so far
	for deadline := time.Now().Add(busyFor); ; {
		answer, err := c.once(ctx, method, path, body)
		if err != nil && busy != nil && ctx.Err() != nil {
			return nil, busy // says more than that the time is over
		}
		if !errors.As(err, &busy) || busy.Code != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return answer, err
		}
		select {
		case <-time.After(busyEvery):
		case <-ctx.Done():
			return nil, busy
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sandboxer"+path, send)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, c.refusal(resp)
}

// refusal is what the daemon, or whoever answers, said.
func (c *Client) refusal(resp *http.Response) error {
	e := &Error{Code: resp.StatusCode}
	if json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(e) != nil || e.Message == "" {
		e.Message = "what answers on " + c.socket + " is no sandboxer daemon: " + resp.Status
	}
	return e
}

// isCut says whether an error is that of a daemon that was stopped or killed
// while it was asked.
func isCut(err error) bool {
	// net/http has no name for what it says of a daemon that ends before it is asked.
	return strings.HasSuffix(err.Error(), "server closed idle connection") || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// explain says what to do about a daemon that can't be reached.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no daemon runs: there is no socket %s; start one with \"sandboxer daemon\" "+
			"(or \"systemctl start sandboxer\"), or name its socket with --socket: %w", c.socket, os.ErrNotExist)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon runs: nobody answers on %s; start one with \"sandboxer daemon\" "+
			"(or \"systemctl start sandboxer\"): %w", c.socket, syscall.ECONNREFUSED)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("you may not open %s; run this as root, or join the socket's group: %w", c.socket, os.ErrPermission)
	}
	if isCut(err) {
		return fmt.Errorf("asking the daemon on %s: %w", c.socket, cut(err))
	}
	return fmt.Errorf("asking the daemon on %s: %w", c.socket, errors.Unwrap(err))
}
