package api

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ExecProtocol is what a connection that carries an exec is upgraded to. After
// the answer 101 the client sends one byte with the descriptors that the
// command is to read and write: its stdin, stdout and stderr, or only one end
// of a terminal. The server answers with a line that is an ExecStarted or an
// Error; the former comes with a descriptor, from which an ExecEnd can be read
// once: whatever becomes of the daemon. A client that is done sends a byte
// more. One that hangs up without it has the command get SIGHUP.
const ExecProtocol = "sandboxer-exec"

// handTime is how long each side may take to hand over descriptors.
const handTime = 10 * time.Second

// ExecRequest is a further command in a container. What is left out is as the
// container's own command has it.
type ExecRequest struct {
	Command    []string  `json:"command"`
	Env        []string  `json:"env,omitempty"` // NAME=VALUE
	WorkingDir string    `json:"workingDir,omitempty"`
	User       *ExecUser `json:"user,omitempty"`
	Terminal   bool      `json:"terminal,omitempty"`
}

// ExecUser is whom a command runs as.
type ExecUser struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// ExecStarted says which process it is.
type ExecStarted struct {
	ContainerID string `json:"containerId"`
	PID         int    `json:"pid"` // in the sandbox
}

// ExecEnd is how a command ended.
type ExecEnd struct {
	Success bool   `json:"success"`
	Err     string `json:"err,omitempty"` // why nobody knows, unless Success
	Result  uint32 `json:"result"`        // a wait status
}

// exec upgrades the connection and runs a command.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Upgrade") != ExecProtocol {
		w.Header().Set("Upgrade", ExecProtocol)
		return &Error{Code: http.StatusUpgradeRequired, Message: "exec needs a connection that is upgraded to " + ExecProtocol}
	}
	var req ExecRequest
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(answerTime))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := decode(r, &req, `{"command": ["/bin/sh"]}`); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, r.Body) // what follows on the connection is no body
	if len(req.Command) == 0 || req.Command[0] == "" {
		return badRequest("there is no command to run")
	}
	sb, err := s.find(r.PathValue("name"))
	if err != nil {
		return err
	}
	container, err := chooseContainer(sb, r.URL.Query().Get("container"))
	if err != nil {
		return err
	}
	hijacked, _, err := rc.Hijack()
	if err != nil {
		return err
	}
	defer hijacked.Close()
	conn, ok := hijacked.(*net.UnixConn)
	if !ok {
		return nil // nobody can hand over a descriptor
	}
	if err := s.session(r.Context(), conn, sb.Name, container, req); err != nil {
		s.cfg.Log.V(1).Info("a command's connection broke", "sandbox", sb.Name, "container", container, "error", err.Error())
	}
	return nil
}

// session is an exec on its own connection, until the client leaves. When ctx
// is done, which is when the daemon ends, it leaves the command alone.
func (s *Server) session(ctx context.Context, conn *net.UnixConn, sandbox, container string, req ExecRequest) error {
	_ = conn.SetDeadline(time.Now().Add(handTime))
	_, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", ExecProtocol)
	if err != nil {
		return err
	}
	stdio, _, err := receiveFiles(conn, make([]byte, 1))
	if err != nil {
		return err
	}
	defer closeFiles(stdio)
	started, exit, err := s.begin(ctx, sandbox, container, req, stdio)
	_ = conn.SetDeadline(time.Now().Add(handTime)) // that took its own time
	if err != nil {
		line, merr := marshal(s.refused(ctx, err, "sandbox", sandbox, "container", container))
		if merr == nil {
			_, merr = conn.Write(line)
		}
		return merr
	}
	closeFiles(stdio) // the sandbox has them: whoever reads their other ends must see the command's end
	line, err := marshal(started)
	if err == nil {
		_, _, err = conn.WriteMsgUnix(line, unix.UnixRights(int(exit.Fd())), nil)
	}
	exit.Close()
	_ = conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || ctx.Err() != nil {
		return nil
	}
	late, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return s.cfg.Backend.Kill(late, sandbox, container, KillRequest{
		Signal: "SIGHUP", ContainerID: started.ContainerID, PID: started.PID, Foreground: req.Terminal})
}

func (s *Server) begin(ctx context.Context, sandbox, container string, req ExecRequest, stdio []*os.File) (ExecStarted, *os.File, error) {
	switch {
	case req.Terminal && len(stdio) == 1:
		stdio = []*os.File{stdio[0], stdio[0], stdio[0]}
	case req.Terminal, len(stdio) != 3:
		return ExecStarted{}, nil, badRequest("%d descriptors came; want three, or one terminal", len(stdio))
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return s.cfg.Backend.Exec(ctx, sandbox, container, req, [3]*os.File(stdio))
}

// receiveFiles reads once, and takes the descriptors that come with it.
func receiveFiles(conn *net.UnixConn, b []byte) (files []*os.File, n int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, 0, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // another kind of message
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, n, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
