package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandboxer/internal/events"
)

// noting is a Backend that notes what level each thing needs that it is asked for.
type noting struct {
	*fake
	asked Level
	paths []string
}

func (n *noting) ask(l Level) { n.asked = max(n.asked, l) }

func (n *noting) Watch(_ context.Context, _ string, send func(Change) error) error {
	return send(Change{Sandbox: n.sandboxes[0]})
}

func (n *noting) FollowEvents(context.Context, string, func(events.Event) error) error { return nil }

func (n *noting) Restart(context.Context, string, []string, bool) (time.Time, error) {
	n.ask(Operate)
	return time.Time{}, nil
}

func (n *noting) Exec(context.Context, string, string, ExecRequest, [3]*os.File) (ExecStarted, *os.File, error) {
	n.ask(Operate)
	return ExecStarted{}, nil, errors.New("not here")
}

func (n *noting) Attach(string, string) (Attachment, error) {
	n.ask(Operate)
	return Attachment{}, errors.New("not here")
}

func (n *noting) Kill(context.Context, string, string, KillRequest) error {
	n.ask(Operate)
	return nil
}

func (n *noting) Checkpoint(_ context.Context, _, path string) (Checkpoint, error) {
	n.ask(Admin)
	n.paths = append(n.paths, path)
	return Checkpoint{}, nil
}

func (n *noting) ConfirmDeletions(context.Context, []string) (Confirmation, error) {
	n.ask(Admin)
	return Confirmation{}, nil
}

func (n *noting) Plan(_ context.Context, paths []string) (Plan, error) {
	n.ask(Admin)
	n.paths = append(n.paths, paths...)
	return Plan{}, nil
}

// Whatever a client sends, nothing is done that its level does not cover, what is
// done is noted, paths are absolute, and a refusal has the API's form.
func FuzzRequest(f *testing.F) {
	n := &noting{fake: &fake{sandboxes: []Sandbox{box("web", "app"), box("two", "a", "b")}}}
	var noted []Audit
	s, err := New(Config{Backend: n, Access: []Grant{{4001, Read}, {4002, Operate}, {4003, Admin}}, Audit: func(a Audit) { noted = append(noted, a) }})
	if err != nil {
		f.Fatal(err)
	}
	for i, rt := range s.routes() {
		path := strings.Replace(rt.path, "{name}", "web", 1)
		f.Add([]byte(rt.method+" "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{\"path\":\"/a\"}"), uint32(4000+i%4), false)
		f.Add([]byte(rt.method+" "+path+"?container=app HTTP/1.1\r\nHost: x\r\nUpgrade: sandboxer-exec\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), uint32(0), i%2 == 0)
	}
	f.Add([]byte("POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n{\"paths\":[\"/a\",\"../b\"]} "), uint32(4003), false)
	f.Add([]byte("POST /v1/sandboxes/%2e%2e%2fweb/restart?container=a%00&gofer=1 HTTP/1.1\r\nHost: x\r\n\r\n"), uint32(4002), false)
	f.Add([]byte("GET //v1/../v1/sandboxes/web/logs?tail=-1&since=x HTTP/1.0\r\n\r\n"), uint32(4001), false)
	f.Fuzz(func(t *testing.T, raw []byte, group uint32, inside bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		p := peer{uid: 1000, gid: 1000, groups: []uint32{group}}
		if group == 0 {
			p.uid = 0
		}
		if inside {
			p.refused = errors.New("it is a sandbox's")
		}
		n.asked, n.paths, noted = 0, nil, nil
		w := httptest.NewRecorder()
		r = r.WithContext(context.WithValue(context.Background(), peerKey{}, func() peer { return p }))
		s.handler.ServeHTTP(w, r)
		may := s.level(p)
		if inside {
			may = 0
		}
		if n.asked > may {
			t.Errorf("%s %s did what needs %q, with %q", r.Method, r.URL, n.asked, may)
		}
		planned := r.URL.Path == "/v1/plan"
		if n.asked > Read && !planned && len(noted) == 0 {
			t.Errorf("%s %s is noted nowhere", r.Method, r.URL)
		}
		if slices.ContainsFunc(n.paths, func(path string) bool { return !filepath.IsAbs(path) }) {
			t.Errorf("paths %q", n.paths)
		}
		if may == 0 && w.Code < 300 {
			t.Errorf("%s %s of whom may nothing: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
		if w.Code >= 400 {
			var e Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code != w.Code || e.Message == "" {
				t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
			}
		}
	})
}
