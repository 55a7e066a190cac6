package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A daemon that is killed while it is asked is told of as one that went away, and
// by the path that its user knows.
func TestCutWhileAsked(t *testing.T) {
	for what, answer := range map[string]string{
		"before it answers":       "",
		"in its answer's head":    "HTTP/1.1 200",
		"in its answer":           "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"items\": [",
		"in an answer in pieces":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ite",
		"in an answer that flows": "HTTP/1.1 200 OK\r\n\r\n{\"items\": [",
	} {
		for _, reset := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "s")
			l, err := Listen(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				if reset {
					_, _ = conn.Read(make([]byte, 1)) // what is not read is reset
				} else {
					// What was read to its end is closed, and not reset.
					for r := bufio.NewReader(conn); ; {
						line, err := r.ReadString('\n')
						if err != nil || strings.TrimSpace(line) == "" {
							break
						}
					}
				}
				_, _ = io.WriteString(conn, answer)
			}()
			c := NewClient(path)
			_, err = c.List(context.Background())
			if !errors.Is(err, ErrCut) || !strings.Contains(err.Error(), path+": ") || strings.Contains(err.Error(), bindSuffix) || strings.Contains(err.Error(), "@") {
				t.Errorf("%s, reset %v: %v", what, reset, err)
			}
			c.Close()
			l.Close()
		}
	}
	reset := &net.OpError{Op: "read", Net: "unix", Addr: &net.UnixAddr{Name: "/s" + bindSuffix, Net: "unix"}, Err: unix.ECONNRESET}
	if err := cut(reset); !errors.Is(err, ErrCut) || !errors.Is(err, syscall.ECONNRESET) || strings.Contains(err.Error(), bindSuffix) {
		t.Errorf("%v", err)
	}
}

// Who wants a fresh list has the daemon look first.
func TestFreshList(t *testing.T) {
	f := &fake{sandboxes: []Sandbox{box("web", "app")}}
	if code, _ := request(t, f, "GET", "/v1/sandboxes", ""); code != 200 || f.refreshed.Load() != nil {
		t.Errorf("%d, refreshed %v", code, f.refreshed.Load())
	}
	if code, said := request(t, f, "GET", "/v1/sandboxes?fresh=web", ""); code != 200 || f.refreshed.Load() != "web" || !strings.Contains(said, "web.app.1") {
		t.Errorf("%d %s, refreshed %v", code, said, f.refreshed.Load())
	}
}

// A daemon of an earlier version knows no fresh list: it is asked for its own.
func TestFreshListOfEarlier(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	earlier := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := knownQuery(r, []string{"watch"}); err != nil {
			writeJSON(w, http.StatusBadRequest, err)
			return
		}
		writeJSON(w, http.StatusOK, List{Items: []Sandbox{box("web", "app")}})
	})}
	go func() { _ = earlier.Serve(l) }()
	defer earlier.Close()
	c := NewClient(path)
	defer c.Close()
	if list, err := c.ListFresh(context.Background(), "web"); err != nil || len(list.Items) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
