package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// service is a socket of the host.
type service struct {
	t     *testing.T
	conns chan *net.UnixConn
}

// service listens on a socket of the host that everybody may connect to.
func (w *world) service(path string) *service {
	w.t.Helper()
	l, err := net.Listen("unix", filepath.Join(w.dir, path))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	if err := os.Chmod(filepath.Join(w.dir, path), 0o777); err != nil {
		w.t.Fatal(err)
	}
	s := &service{w.t, make(chan *net.UnixConn, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns <- c.(*net.UnixConn)
		}
	}()
	return s
}

// accept waits for somebody to connect and says which user that is.
func (s *service) accept() (c *net.UnixConn, uid uint32) {
	s.t.Helper()
	select {
	case c = <-s.conns:
	case <-time.After(patience):
		s.t.Fatal("nobody connects")
	}
	s.t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		s.t.Fatal(err)
	}
	var cred *syscall.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); cerr != nil || err != nil {
		s.t.Fatal(cerr, err)
	}
	return c, cred.Uid
}

// echoes checks that what is sent comes back.
func echoes(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.WriteString(c, text); err != nil {
		t.Errorf("sending %q: %v", text, err)
	} else if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Errorf("%q came back as %q, %v", text, b, err)
	}
}

// reaches checks that a container listens on a socket.
func (w *world) reaches(path string) {
	w.t.Helper()
	c, err := net.Dial("unix", filepath.Join(w.dir, path))
	if err != nil {
		w.t.Error(err)
		return
	}
	defer c.Close()
	echoes(w.t, c, "to "+path)
}

// folders makes directories for volumes, a service in each.
func (w *world) folders(names ...string) map[string]*service {
	w.t.Helper()
	services := map[string]*service{}
	for _, n := range names {
		dir := filepath.Join(w.dir, n)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			w.t.Fatal(err)
		}
		services[n] = w.service(n + "/host")
	}
	return services
}

// Sockets of the host go on under later gofers: one that is listened on, one
// that is connected, those that come later. Each reaches its peer, as the user
// that the container runs as.
func TestSockets(t *testing.T) {
	w := start(t)
	services := w.folders("v", "v/a", "v/b", "v/b/deep")
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v, sockets: true}}]\ncontainers:\n- "+
		box("app", "listen /v/a/app", "volumeMounts: [{name: v, mountPath: /v}]", "securityContext: {runAsUser: 7, runAsGroup: 8}"))
	was := w.running("web")
	w.said("web/app", "listening")
	w.reaches("v/a/app")
	connects := func(s *session, name string) net.Conn {
		t.Helper()
		s.expect("connected")
		c, uid := services[name].accept()
		if uid != 7 {
			t.Errorf("%s was connected to by user %d", name, uid)
		}
		echoes(t, c, "from "+name)
		return c
	}
	dial := func(name string) *session { return w.session("exec", "web/app", "--", "/w", "dial", "/"+name+"/host") }
	long := dial("v/b")
	connected := connects(long, "v/b")
	listens := func(path string) *session {
		t.Helper()
		s := w.session("exec", "web/app", "--", "/w", "listen", "/"+path, "/"+path+".end")
		s.expect("listening")
		w.reaches(path)
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(w.dir, path), &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFSOCK || st.Uid != 7 {
			t.Errorf("%s has mode %o, owner %d, %v", path, st.Mode, st.Uid, err)
		}
		return s
	}
	listens("v/b/first")

	for n := range 5 {
		now := fmt.Sprintf("v/now-%d", n)
		waits := w.session("exec", "web/app", "--", "/w", "print", "waits", "then", "await", "/"+now, "then", "dial", "/v/a/host")
		waits.expect("waits")
		gofers := w.helpers("web", "gofer")
		killAll(gofers)
		// What one of them had begun to answer would be done twice.
		if !poll(func() bool {
			return !slices.ContainsFunc(gofers, func(pid int) bool { return lives(strconv.Itoa(pid)) })
		}) {
			t.Fatal("a gofer does not end")
		}
		// Whatever is asked meanwhile is answered by the next gofer.
		if err := os.WriteFile(filepath.Join(w.dir, now), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		w.reaches("v/a/app")
		echoes(t, connected, "still there")
		connects(waits, "v/a").Close()
		waits.ends(0)
		w.same(was, w.replaced("web", "app", n+1), "app")
		for name := range services {
			s := dial(name)
			connects(s, name).Close()
			s.ends(0)
		}
		later := listens(fmt.Sprintf("v/b/deep/later-%d", n))
		w.reaches("v/b/first")
		for name := range services {
			if _, err := os.Lstat(filepath.Join(w.dir, name, fmt.Sprintf("later-%d", n))); (err == nil) != (name == "v/b/deep") {
				t.Errorf("in %s: %v", name, err)
			}
		}
		if err := os.WriteFile(filepath.Join(w.dir, fmt.Sprintf("v/b/deep/later-%d.end", n)), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		later.ends(0)
		// The last that holds it may be ending.
		closed := func() bool {
			c, err := net.Dial("unix", filepath.Join(w.dir, fmt.Sprintf("v/b/deep/later-%d", n)))
			if err == nil {
				c.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		}
		if !poll(closed) {
			t.Errorf("what was closed is connected to, %d", n)
		}
	}
	echoes(t, connected, "to the end")
	connected.Close()
	long.ends(0)
	for name, s := range services {
		if n := len(s.conns); n > 0 {
			t.Errorf("%d others have connected to %s", n, name)
		}
	}
}

// So they do when the daemon comes and goes, and when gofers are replaced that
// are well.
func TestSocketsWithoutDaemon(t *testing.T) {
	w := start(t)
	w.folders("v")
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v, sockets: true}}]\ncontainers:\n- "+
		box("app", "listen /v/app", "volumeMounts: [{name: v, mountPath: /v}]"))
	was := w.running("web")
	w.said("web/app", "listening")
	w.restart()
	w.reaches("v/app")
	w.kill()
	killAll(w.helpers("web", "gofer"))
	waits, err := net.Dial("unix", filepath.Join(w.dir, "v/app"))
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	w.start()
	echoes(t, waits, "was there first")
	w.replaced("web", "app", 1) // or that is the new one that is asked for
	w.ok("restart", "--gofer", "web")
	w.reaches("v/app")
	w.same(was, w.replaced("web", "app", 2), "app")
}

// Without the word for it nothing of the host's sockets is to be had, in a
// container beside one that has it, too.
func TestSocketsOff(t *testing.T) {
	w := start(t)
	services := w.folders("on", "off")
	w.declare("web", `
volumes:
- {name: on, hostPath: {path: DIR/on, sockets: true}}
- {name: off, hostPath: {path: DIR/off}}
- {name: one, hostPath: {path: DIR/on/host, sockets: true}}
containers:
- `+box("app", "listen /off/app", "volumeMounts: [{name: on, mountPath: /on, readOnly: true}, {name: off, mountPath: /off}, {name: one, mountPath: /one}]"))
	w.running("web")
	w.said("web/app", "listening")
	for n := range 2 {
		for command, want := range map[string]string{
			"dial /off/host":  "refused: connection refused",
			"listen /on/mine": "refused: read-only file system",
		} {
			if out := w.ok(append([]string{"exec", "web/app", "--", "/w"}, strings.Fields(command)...)...); strings.TrimSpace(out) != want {
				t.Errorf("%s: %q, want %q", command, out, want)
			}
		}
		for _, path := range []string{"/on/host", "/one"} {
			s := w.session("exec", "web/app", "--", "/w", "dial", path)
			s.expect("connected")
			c, _ := services["on"].accept()
			echoes(t, c, "through "+path)
			c.Close()
			s.ends(0)
		}
		// What it has bound itself is its own.
		s := w.session("exec", "web/app", "--", "/w", "dial", "/off/app")
		s.expect("connected")
		if entries, err := os.ReadDir(filepath.Join(w.dir, "off")); len(entries) != 1 || err != nil {
			t.Errorf("the host's directory has %v, %v", entries, err)
		}
		killAll(w.helpers("web", "gofer"))
		w.replaced("web", "app", n+1)
	}
	if len(services["off"].conns) > 0 {
		t.Error("somebody has connected")
	}
}
