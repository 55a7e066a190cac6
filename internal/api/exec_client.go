package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// exitMax is how long an ExecEnd may be, in bytes: the sandbox itself says it.
const exitMax = 64 << 10

// ErrSandboxEnded says that a command's sandbox ended under it.
var ErrSandboxEnded = errors.New("the sandbox ended")

// Session is a command that Exec has started. Close must be called.
type Session struct {
	ExecStarted
	conn  *net.UnixConn
	exit  *os.File
	ended bool
}

// Exec runs a command in a container, which may be empty where there is only
// one. The command has stdio for itself from then on: three descriptors, or
// one end of a terminal. The caller closes its own. Those that are shared with
// others become non-blocking for all of them.
func (c *Client) Exec(ctx context.Context, sandbox, container string, r ExecRequest, stdio []*os.File) (*Session, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sandboxer/v1/sandboxes/"+url.PathEscape(sandbox)+"/exec?"+
		query("container", container), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", ExecProtocol)
	dialed, err := c.dial(ctx)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	s := &Session{conn: dialed.(*net.UnixConn)}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = s.conn.SetDeadline(time.Now().Add(2 * answerTime))
	if err := s.begin(c, req, stdio); err != nil {
		s.conn.Close()
		return nil, ended(ctx, err)
	}
	_ = s.conn.SetDeadline(time.Time{})
	return s, nil
}

// begin upgrades the connection, hands over the descriptors and reads what has
// become of the command.
func (s *Session) begin(c *Client, req *http.Request, stdio []*os.File) error {
	if err := req.Write(s.conn); err != nil {
		return err
	}
	// The server says no more before it has the descriptors: nothing that
	// follows is read ahead.
	resp, err := http.ReadResponse(bufio.NewReader(s.conn), req)
	if err != nil {
		return cut(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return c.refusal(resp)
	}
	fds := make([]int, len(stdio))
	for i, f := range stdio {
		fds[i] = int(f.Fd())
	}
	if _, _, err := s.conn.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil); err != nil {
		return cut(err)
	}
	// One answer is one write, and the descriptor comes with its beginning.
	b := make([]byte, maxHeader)
	files, n, err := receiveFiles(s.conn, b)
	if err != nil {
		return cut(err)
	}
	if len(files) == 0 {
		e := &Error{}
		if err := json.Unmarshal(b[:n], e); err != nil {
			return fmt.Errorf("reading the daemon's answer: %w", err)
		}
		return e
	}
	s.exit = files[0]
	return json.Unmarshal(b[:n], &s.ExecStarted)
}

// Wait returns how the command ended. The daemon need not live for it; the
// sandbox must (ErrSandboxEnded).
func (s *Session) Wait() (unix.WaitStatus, error) {
	var end ExecEnd
	said := io.LimitedReader{R: s.exit, N: exitMax}
	err := json.NewDecoder(&said).Decode(&end)
	s.ended = true
	switch {
	case err != nil && said.N == 0:
		return 0, fmt.Errorf("how it ended is said in more than %d bytes", exitMax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
		return 0, ErrSandboxEnded
	case err != nil:
		return 0, err
	case !end.Success:
		return 0, errors.New(end.Err)
	}
	status := unix.WaitStatus(end.Result)
	if end.Result > math.MaxUint16 || !status.Exited() && !status.Signaled() {
		return 0, fmt.Errorf("nothing ends with the wait status %#x", end.Result)
	}
	return status, nil
}

// Close ends the connection. A command that was not waited for gets SIGHUP.
func (s *Session) Close() {
	if s.ended {
		_, _ = s.conn.Write([]byte{0}) // the daemon may have gone
	}
	s.conn.Close()
	s.exit.Close()
}
