package api

import (
	"bufio"
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
	"time"

	"golang.org/x/sys/unix"
)

// AttachProtocol is what a connection that attaches is upgraded to. After the
// answer 101 the client sends one byte. The server answers with a line that is
// an Attached or an Error; the former comes with descriptors: the reading ends
// of the pipes that stdout and stderr come through from now on, and, where
// there is one, the terminal's master or the writing end of the command's
// stdin. A second line, an AttachEnd, says how it ended; without one the daemon
// has gone, and the command goes on. A client that hangs up is detached.
const AttachProtocol = "sandboxer-attach"

// Attached says to what a client is attached.
type Attached struct {
	ContainerID string `json:"containerId"`
	Terminal    bool   `json:"terminal"`
	Stdin       bool   `json:"stdin"` // the command reads what is written to it
}

// AttachEnd is why an attachment ended.
type AttachEnd struct {
	ExitCode int `json:"exitCode"` // 0..255; 128+N after signal N
	// Gone: the sandbox ended, and the command with it.
	Gone bool `json:"gone,omitempty"`
	// Error is why nobody can tell, or the client was detached; empty: ExitCode.
	Error string `json:"error,omitempty"`
}

// Attachment is what a Backend attaches a client to.
type Attachment struct {
	Attached
	Output [2]*os.File // stdout and stderr
	Input  *os.File    // may be nil
	// Await returns when the command has ended and all that it wrote is in the
	// pipes, or when ctx is done.
	Await func(ctx context.Context) AttachEnd
	// Close lets go of everything.
	Close func()
}

// upgraded takes over a connection and says that it is upgraded.
func upgraded(w http.ResponseWriter, protocol string) (*net.UnixConn, error) {
	hijacked, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	conn, ok := hijacked.(*net.UnixConn)
	if !ok {
		hijacked.Close()
		return nil, nil // nobody can hand over a descriptor
	}
	_ = conn.SetDeadline(time.Now().Add(handTime))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // nothing that follows is read ahead
	}
	if err != nil {
		conn.Close()
		return nil, nil
	}
	return conn, nil
}

// attach upgrades the connection and attaches it.
func (s *Server) attach(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Upgrade") != AttachProtocol {
		w.Header().Set("Upgrade", AttachProtocol)
		return &Error{Code: http.StatusUpgradeRequired, Message: "attach needs a connection that is upgraded to " + AttachProtocol}
	}
	sb, err := s.find(r.PathValue("name"))
	if err != nil {
		return err
	}
	container, err := chooseContainer(sb, r.URL.Query().Get("container"))
	if err != nil {
		return err
	}
	at, err := s.cfg.Backend.Attach(sb.Name, container)
	if err != nil {
		return err
	}
	defer at.Close()
	conn, err := upgraded(w, AttachProtocol)
	if conn == nil {
		return err
	}
	defer conn.Close()
	if err := s.attached(r.Context(), conn, at); err != nil {
		s.cfg.Log.V(1).Info("an attached connection broke", "sandbox", sb.Name, "container", container, "error", err.Error())
	}
	return nil
}

// attached is an attachment, until it ends or either side leaves.
func (s *Server) attached(ctx context.Context, conn *net.UnixConn, at Attachment) error {
	line, err := marshal(at.Attached)
	if err != nil {
		return err
	}
	fds := []int{int(at.Output[0].Fd()), int(at.Output[1].Fd())}
	if at.Input != nil {
		fds = append(fds, int(at.Input.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(line, unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = conn.Read(make([]byte, 1)) // the client leaves
		cancel()
	}()
	end := at.Await(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if line, err = marshal(end); err == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(handTime))
		_, err = conn.Write(line)
	}
	return err
}

// AttachSession is a client's attachment. Close must be called; it detaches.
type AttachSession struct {
	Attached
	Output [2]*os.File
	Input  *os.File // nil: there is none
	conn   *net.UnixConn
	lines  *bufio.Reader
}

// Attach attaches to a container's command; container may be empty where there
// is only one.
func (c *Client) Attach(ctx context.Context, sandbox, container string) (*AttachSession, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sandboxer/v1/sandboxes/"+url.PathEscape(sandbox)+"/attach?"+
		query("container", container), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", AttachProtocol)
	dialed, err := c.dial(ctx)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	s := &AttachSession{conn: dialed.(*net.UnixConn)}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = s.conn.SetDeadline(time.Now().Add(2 * answerTime))
	if err := s.begin(c, req); err != nil {
		s.Close()
		return nil, ended(ctx, err)
	}
	_ = s.conn.SetDeadline(time.Time{})
	return s, nil
}

func (s *AttachSession) begin(c *Client, req *http.Request) error {
	if err := req.Write(s.conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(s.conn), req)
	if err != nil {
		return cut(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return c.refusal(resp)
	}
	if _, err := s.conn.Write([]byte{0}); err != nil {
		return cut(err)
	}
	// One line is one write, and the descriptors come with its beginning. What
	// follows on it is the end.
	b := make([]byte, maxHeader)
	files, n, err := receiveFiles(s.conn, b)
	if err != nil {
		return cut(err)
	}
	if len(files) < 2 {
		closeFiles(files)
		return errors.New("the daemon sent no descriptors")
	}
	s.Output = [2]*os.File(files)
	if len(files) > 2 {
		s.Input = files[2]
	}
	s.lines = bufio.NewReader(io.MultiReader(bytes.NewReader(b[:n]), s.conn))
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		return cut(err)
	}
	return json.Unmarshal(line, &s.Attached)
}

// Wait returns why the attachment ended; ErrCut: the daemon has gone, and the
// command goes on.
func (s *AttachSession) Wait() (end AttachEnd, err error) {
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		return end, cut(err)
	}
	return end, json.Unmarshal(line, &end)
}

// Close detaches.
func (s *AttachSession) Close() {
	s.conn.Close()
	for _, f := range []*os.File{s.Output[0], s.Output[1], s.Input} {
		f.Close() // none is fine
	}
}
