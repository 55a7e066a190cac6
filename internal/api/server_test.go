package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sandboxer/internal/events"
	"sandboxer/internal/logs"
)

func TestNewNeedsABackend(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("New accepted no Backend")
	}
}

// request asks a server without a connection.
func request(t *testing.T, f *fake, method, target, body string) (int, string) {
	t.Helper()
	s, err := New(Config{Backend: f, Version: Version{Version: "v1.2.3"}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequestWithContext(context.WithValue(t.Context(), peerKey{}, func() peer { return peer{} }), method, target, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestAnswers(t *testing.T) {
	full := &fake{sandboxes: []Sandbox{box("db"), box("two", "a", "b"), box("web", "app"), box("sub/x.yaml")}}
	failing := &fake{err: errors.New("the <disk> is gone")}
	starting := &fake{sandboxes: full.sandboxes, unready: func() error { return errors.New("the daemon is starting") }}
	invalid := &fake{err: fmt.Errorf("%w: /x can't be read", ErrInvalid)}
	for _, c := range []struct {
		name         string
		f            *fake
		method, path string
		body         string
		code         int
		want         string // the answer, or with … a part of it
	}{
		{"checkpoint", full, "POST", "/v1/sandboxes/web/checkpoint", `{"path": "/srv/x/"}`, 200, `{"sandbox":"web","path":"/srv/x","bytes":42}`},
		{"checkpoint of nothing", full, "POST", "/v1/sandboxes/nobody/checkpoint", `{"path": "/srv/x"}`, 404, `there is no sandbox \"nobody\"…`},
		{"checkpoint to a relative path", full, "POST", "/v1/sandboxes/web/checkpoint", `{"path": "x"}`, 400, `path \"x\" is relative…`},
		{"checkpoint to nowhere", full, "POST", "/v1/sandboxes/web/checkpoint", `{"image": "/x"}`, 400, `the request is not understood…`},
		{"checkpoint that fails", &fake{sandboxes: full.sandboxes, err: errors.New("the disk is full")}, "POST", "/v1/sandboxes/web/checkpoint",
			`{"path": "/x"}`, 500, `{"code":500,"error":"the disk is full"}`},
		{"healthy", full, "GET", "/healthz", "", 200, `{"status":"ok"}`},
		{"not healthy", starting, "GET", "/healthz", "", 503, `{"code":503,"error":"the daemon is starting"}`},
		{"version while it starts", starting, "GET", "/v1/version", "", 200, `…v1.2.3…`},
		{"list while it starts", starting, "GET", "/v1/sandboxes", "", 503, `{"code":503,"error":"the daemon is starting"}`},
		{"watch while it starts", starting, "GET", "/v1/sandboxes?watch=1", "", 503, `…the daemon is starting…`},
		{"one while it starts", starting, "GET", "/v1/sandboxes/db", "", 503, `…the daemon is starting…`},
		{"logs while it starts", starting, "GET", "/v1/sandboxes/web/logs", "", 503, `…the daemon is starting…`},
		{"plan while it starts", starting, "POST", "/v1/plan", "", 503, `…the daemon is starting…`},
		{"version", full, "GET", "/v1/version", "", 200, `{"version":"v1.2.3","commit":"","date":"","go":"","gvisor":""}`},
		{"empty list", &fake{}, "GET", "/v1/sandboxes", "", 200, `{"items":[]}`},
		{"one", full, "GET", "/v1/sandboxes/db", "", 200, `{"name":"db","source":"db.yaml","desiredState":"Running",` +
			`"status":{"phase":"Running","ready":false,"reason":"","message":"","specHash":"","runtime":"",` +
			`"sandboxPid":0,"oomScoreAdj":null,"cgroup":"","createdAt":null,"conditions":[],"containers":[]}}`},
		{"container", full, "GET", "/v1/sandboxes/web", "", 200, `…{"name":"app","id":"web.app.1","state":"running","ready":false,` +
			`"pid":0,"goferPid":null,"goferRestarts":0,"restartCount":0,"exitCode":null,"reason":"",` +
			`"startedAt":null,"finishedAt":null,"nextStartAt":null}…`},
		{"a file's name", full, "GET", "/v1/sandboxes/sub%2Fx.yaml", "", 200, `…"name":"sub/x.yaml"…`},
		{"unknown", full, "GET", "/v1/sandboxes/x", "", 404, `{"code":404,"error":"there is no sandbox \"x\"; \"sandboxer get\" lists those there are"}`},
		{"describe", full, "GET", "/v1/sandboxes/db/describe", "", 200, `…"spec":null,"pending":[],"nextTry":null,"events":[]}`},
		{"describe unknown", full, "GET", "/v1/sandboxes/x/describe", "", 404, `…there is no sandbox…`},
		{"events", full, "GET", "/v1/events", "", 200, `{"items":[]}`},
		{"the only container", full, "GET", "/v1/sandboxes/web/logs", "", 200, "web/app"},
		{"a container", full, "GET", "/v1/sandboxes/two/logs?container=b&tail=0&follow=true", "", 200, "two/b"},
		{"which container", full, "GET", "/v1/sandboxes/two/logs", "", 400, `…has several containers; say which: two/a, two/b…`},
		{"no such container", full, "GET", "/v1/sandboxes/two/logs?container=c", "", 404, `…has no container \"c\"; it has: a, b…`},
		{"no containers", full, "GET", "/v1/sandboxes/db/logs", "", 404, `…\"sandboxer describe db\" says why…`},
		{"logs of nobody", full, "GET", "/v1/sandboxes/x/logs", "", 404, `…there is no sandbox…`},
		{"bad tail", full, "GET", "/v1/sandboxes/web/logs?tail=-1", "", 400, `…tail=\"-1\": want a number of lines…`},
		{"bad since", full, "GET", "/v1/sandboxes/web/logs?since=noon", "", 400, `…since=\"noon\": want a time…`},
		{"bad after", full, "GET", "/v1/sandboxes/web/logs?after=noon", "", 400, `…after \"noon\": want a time…`},
		{"the previous run has no end to come", full, "GET", "/v1/sandboxes/web/logs?previous=1&follow=1", "", 400, `…nothing to follow…`},
		{"bad follow", full, "GET", "/v1/sandboxes/web/logs?follow=maybe", "", 400, `…follow=\"maybe\": want 1 or 0…`},
		{"bad watch", full, "GET", "/v1/sandboxes?watch=maybe", "", 400, `…watch=\"maybe\"…`},
		{"bad event follow", full, "GET", "/v1/events?follow=maybe", "", 400, `…follow=\"maybe\"…`},
		{"misspelled", full, "GET", "/v1/events?sandboxes=web", "", 400, `…unknown parameter \"sandboxes\"; known here: sandbox, follow…`},
		{"none known", full, "GET", "/healthz?x=1", "", 400, `…known here: none…`},
		{"confirm", full, "POST", "/v1/confirm-deletions", "", 200, `{"confirmed":[]}`},
		{"confirm by name", full, "POST", "/v1/confirm-deletions", `{"names":["no"]}`, 200, `{"confirmed":[],"notHeld":["no"]}`},
		{"confirm a wrong body", full, "POST", "/v1/confirm-deletions", `{"name":"no"}`, 400, `…unknown field…`},
		{"confirm fails", failing, "POST", "/v1/confirm-deletions", "", 500, `…the <disk> is gone…`},
		{"plan", full, "POST", "/v1/plan", `{"paths":["/a"]}`, 200, `{"actions":[]}`},
		{"plan of what is", full, "POST", "/v1/plan", "", 200, `{"actions":[]}`},
		{"plan of a bad path", invalid, "POST", "/v1/plan", `{"paths":["/x"]}`, 400, `…/x can't be read…`},
		{"plan relative", full, "POST", "/v1/plan", `{"paths":["a"]}`, 400, `…path \"a\" is relative…`},
		{"plan misspelled", full, "POST", "/v1/plan", `{"path":["/a"]}`, 400, `…not understood…`},
		{"plan too large", full, "POST", "/v1/plan", `{"paths":["/` + strings.Repeat("a", maxBody) + `"]}`, 413, `…larger than 1048576 bytes…`},
		{"nothing there", full, "GET", "/v2", "", 404, `…there is nothing at /v2; GET /openapi.json…`},
		{"wrong method", full, "DELETE", "/v1/sandboxes/web", "", 405, `…takes GET, HEAD, not DELETE…`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, got := request(t, c.f, c.method, c.path, c.body)
			got = strings.TrimSuffix(got, "\n")
			if code != c.code {
				t.Errorf("status %d, want %d", code, c.code)
			}
			part := strings.Trim(c.want, "…")
			if part == c.want && got != part || !strings.Contains(got, part) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if code != 200 {
				var e Error
				if err := json.Unmarshal([]byte(got), &e); err != nil || e.Code != code || e.Message == "" {
					t.Errorf("the error is not in the API's form: %s", got)
				}
			}
		})
	}
}

// A client asks a daemon again that is starting, and tells what it says if
// that takes too long.
func TestClientOfAStartingDaemon(t *testing.T) {
	asked := 0
	f := &fake{sandboxes: []Sandbox{box("web")}, unready: func() error {
		if asked++; asked < 3 {
			return errors.New("the daemon is starting")
		}
		return nil
	}}
	c, _ := serve(t, f)
	if l, err := c.List(t.Context()); err != nil || len(l.Items) != 1 || asked != 3 {
		t.Errorf("after %d requests: %+v, %v", asked, l, err)
	}
	f.unready = func() error { return errors.New("the daemon is starting for ever") }
	ctx, cancel := context.WithTimeout(t.Context(), 2*busyEvery)
	defer cancel()
	if _, err := c.List(ctx); err == nil || err.Error() != "the daemon is starting for ever" {
		t.Errorf("given up: %v", err)
	}
}

func TestChangeReadsBack(t *testing.T) {
	for _, c := range []struct {
		change Change
		want   string
	}{
		{Change{Sandbox: Sandbox{Name: "web", Source: "x"}, Deleted: true}, `{"name":"web","deleted":true}`},
		{Change{Sandbox: box("web")}, ``},
	} {
		b, err := json.Marshal(c.change)
		if err != nil || c.want != "" && string(b) != c.want || strings.Contains(string(b), `"Deleted"`) {
			t.Errorf("got %s, %v", b, err)
		}
		var back Change
		if err := json.Unmarshal(b, &back); err != nil || back.Name != "web" || back.Deleted != c.change.Deleted ||
			back.Status.Phase != c.change.Status.Phase {
			t.Errorf("read back %+v, %v", back, err)
		}
	}
	if json.Unmarshal([]byte(`[]`), &Change{}) == nil {
		t.Error("a list was accepted")
	}
}

func TestClientAndServerAgree(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 5, time.UTC)
	f := &fake{sandboxes: []Sandbox{box("web", "app")}, events: make([]events.Event, DescribeEvents+5)}
	c, _ := serve(t, f)
	ctx := t.Context()
	if l, err := c.List(ctx); err != nil || len(l.Items) != 1 || l.Items[0].Status.Containers[0].Name != "app" {
		t.Errorf("List: %+v, %v", l, err)
	}
	if s, err := c.Get(ctx, "web"); err != nil || s.Name != "web" {
		t.Errorf("Get: %+v, %v", s, err)
	}
	if _, err := c.Get(ctx, "no/body"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of an unknown one: %v", err)
	}
	if d, err := c.Describe(ctx, "web"); err != nil || d.Name != "web" || len(d.Events) != DescribeEvents {
		t.Errorf("Describe: %+v, %v", d, err)
	}
	if e, err := c.Events(ctx, "web"); err != nil || len(e) != DescribeEvents+5 {
		t.Errorf("Events: %v, %v", e, err)
	}
	if v, err := c.Version(ctx); err != nil || v.Version != "v1.2.3" {
		t.Errorf("Version: %v, %v", v, err)
	}
	if v, err := c.ConfirmDeletions(ctx, nil); err != nil || v.Confirmed == nil {
		t.Errorf("ConfirmDeletions: %v, %v", v, err)
	}
	if v, err := c.Restart(ctx, "web", "app", true); err != nil || f.restarted != "web[app] true" || v.Asked.IsZero() || len(v.Containers) != 1 {
		t.Errorf("Restart: %s, %+v, %v", f.restarted, v, err)
	}
	if _, err := c.Plan(ctx, []string{"/a", "/b"}); err != nil || len(f.planned) != 2 {
		t.Errorf("Plan: %v, %v", f.planned, err)
	}
	if _, err := c.Plan(ctx, []string{"a"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Plan of a relative path: %v", err)
	}
	for _, o := range []logs.Options{{Tail: logs.All}, {Tail: 0, Follow: true, Timestamps: true, Since: noon},
		{Tail: 3, Previous: true, Entries: true, After: "2026-01-02T15:04:05.000000000Z"}} {
		var b bytes.Buffer
		if err := c.Logs(ctx, "web", "", o, &b); err != nil || b.String() != "web/app\n" || f.opts != o {
			t.Errorf("Logs: %q, %v, options %+v, want %+v", b.String(), err, f.opts, o)
		}
	}
}

func TestStreams(t *testing.T) {
	f := &fake{sandboxes: []Sandbox{box("a"), box("b")}, changes: make(chan Change), events: make([]events.Event, 2)}
	c, _ := serve(t, f)
	enough := errors.New("enough")
	var got []string
	go func() { f.changes <- Change{Sandbox: Sandbox{Name: "a"}, Deleted: true} }()
	err := c.Watch(t.Context(), "", func(ch Change) error {
		if got = append(got, fmt.Sprint(ch.Name, ch.Deleted)); len(got) == 3 {
			return enough
		}
		return nil
	})
	if err != enough || fmt.Sprint(got) != "[afalse bfalse atrue]" {
		t.Errorf("watched %v, %v", got, err)
	}
	err = c.Watch(t.Context(), "b", func(ch Change) error { return fmt.Errorf("%w: %s", enough, ch.Name) })
	if !errors.Is(err, enough) || f.watched.Load() != "b" || !strings.HasSuffix(err.Error(), ": b") {
		t.Errorf("watched one: %v, asked for %q", err, f.watched.Load())
	}
	n := 0
	ctx, cancel := context.WithCancel(t.Context())
	err = c.FollowEvents(ctx, "", func(events.Event) error {
		if n++; n == 2 {
			cancel()
		}
		return nil
	})
	if n != 2 || err != context.Canceled {
		t.Errorf("followed %d events, %v", n, err)
	}
	close(f.changes)
	if err := c.Watch(t.Context(), "", func(Change) error { return nil }); !errors.Is(err, ErrCut) {
		t.Errorf("a watch that breaks: %v", err)
	}
}

func TestLogsThatBreakAreNotComplete(t *testing.T) {
	f := &fake{sandboxes: []Sandbox{box("web", "app")}}
	f.logs = func(_ context.Context, w io.Writer) error {
		fmt.Fprintln(w, "some")
		return errors.New("the disk is gone")
	}
	c, _ := serve(t, f)
	var b bytes.Buffer
	if err := c.Logs(t.Context(), "web", "", logs.Options{Tail: logs.All}, &b); !errors.Is(err, ErrCut) || b.String() != "some\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
	f.logs = func(context.Context, io.Writer) error { return errors.New("the disk is gone") }
	err := c.Logs(t.Context(), "web", "", logs.Options{Tail: logs.All}, &b)
	if err == nil || err.Error() != "the disk is gone" {
		t.Errorf("before the first byte: %v", err)
	}
	f.logs = func(context.Context, io.Writer) error { return nil }
	if err := c.Logs(t.Context(), "web", "", logs.Options{Tail: logs.All}, &b); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}

// The end of the daemon cuts streams, also those whose client reads nothing,
// and its server returns.
func TestServeEndsWithItsContext(t *testing.T) {
	f := &fake{sandboxes: []Sandbox{box("web", "app")}}
	endless := make(chan struct{}, 1)
	f.logs = func(_ context.Context, w io.Writer) error {
		endless <- struct{}{}
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
		}
	}
	c, stop := serve(t, f)
	started, cut := make(chan struct{}), make(chan error, 1)
	go func() {
		cut <- c.Watch(t.Context(), "", func(Change) error { close(started); return nil })
	}()
	<-started
	conn := dial(t, c)
	fmt.Fprint(conn, "GET /v1/sandboxes/web/logs HTTP/1.1\r\nHost: x\r\n\r\n")
	<-endless
	stop()
	if err := <-cut; !errors.Is(err, ErrCut) {
		t.Errorf("the watch ended with %v", err)
	}
}

// Watchers can't lock out the other commands.
func TestStreamsAreLimited(t *testing.T) {
	f := &fake{sandboxes: []Sandbox{box("web")}}
	c, stop := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, maxStreams)
	started := make(chan struct{}, maxStreams)
	for range maxStreams {
		go func() {
			ended <- c.Watch(ctx, "", func(Change) error { started <- struct{}{}; return nil })
		}()
	}
	for range maxStreams {
		<-started
	}
	var e *Error
	if _, err := c.once(ctx, "GET", "/v1/sandboxes?watch=1", nil); !errors.As(err, &e) || e.Code != http.StatusServiceUnavailable {
		t.Errorf("one watch too many: %v", err)
	}
	if _, err := c.List(ctx); err != nil {
		t.Errorf("List beside all watches: %v", err)
	}
	cancel()
	for range maxStreams {
		<-ended
	}
	stop()
}
