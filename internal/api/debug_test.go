package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// What looks for faults is for admins alone, whatever else a client may do.
func TestDebugIsForAdmins(t *testing.T) {
	s, err := New(Config{Backend: &fake{}, Access: []Grant{{4001, Read}, {4002, Operate}, {4003, Admin}}})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, rt := range s.routes() {
		if !strings.HasPrefix(rt.path, "/v1/debug/") {
			continue
		}
		found++
		for gid, want := range map[uint32]int{4000: 403, 4001: 403, 4002: 403, 4003: 200} {
			w := httptest.NewRecorder()
			as := context.WithValue(t.Context(), peerKey{}, func() peer { return peer{uid: 1000, gid: gid} })
			s.handler.ServeHTTP(w, httptest.NewRequestWithContext(as, rt.method, strings.ReplaceAll(rt.path, "{name}", "goroutine"), nil))
			if w.Code != want {
				t.Errorf("%s %s of group %d: %d, want %d", rt.method, rt.path, gid, w.Code, want)
			}
		}
	}
	if found < 3 {
		t.Errorf("there are %d such routes", found)
	}
}

// It is answered by a daemon that is not ready.
func TestDebugOfAStartingDaemon(t *testing.T) {
	starting := &fake{unready: func() error { return errors.New("the daemon is starting") }}
	for path, want := range map[string]string{
		"/v1/debug/state":                   `"pid":42`,
		"/v1/debug/log":                     "the daemon's last words\n",
		"/v1/debug/pprof/goroutine?debug=2": "goroutine ",
	} {
		if code, got := request(t, starting, "GET", path, ""); code != 200 || !strings.Contains(got, want) {
			t.Errorf("%s: %d, %.200s", path, code, got)
		}
	}
}

// It is answered where everything else that the daemon answers at once hangs.
func TestDebugHasItsOwnPlaces(t *testing.T) {
	hang := make(chan struct{})
	c, stop := serve(t, &fake{hang: hang})
	defer stop()
	goOn := sync.OnceFunc(func() { close(hang) })
	defer goOn()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, maxAnswers)
	for range maxAnswers {
		go func() { _, err := c.Plan(ctx, nil); ended <- err }()
	}
	for {
		var e *Error
		body, err := c.once(ctx, "GET", "/v1/version", nil)
		if errors.As(err, &e) && e.Code == http.StatusServiceUnavailable {
			break // every place is taken
		}
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
	}
	if _, err := c.DebugState(ctx); err != nil {
		t.Errorf("the state: %v", err)
	}
	var b bytes.Buffer
	if err := c.Profile(ctx, "goroutine", 1, 0, &b); err != nil || !strings.Contains(b.String(), "TestDebugHasItsOwnPlaces") {
		t.Errorf("goroutines: %v, %.200s", err, b.String())
	}
	goOn()
	for range maxAnswers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// Every profile can be had, those over a time one at a time.
func TestProfiles(t *testing.T) {
	c, stop := serve(t, &fake{})
	defer stop()
	for _, name := range Profiles {
		var b bytes.Buffer
		err := c.Profile(t.Context(), name, 0, 1, &b)
		if err != nil || b.Len() == 0 {
			t.Errorf("%s: %d bytes, %v", name, b.Len(), err)
		}
		if zipped := bytes.HasPrefix(b.Bytes(), []byte("\x1f\x8b")); zipped == (name == "trace") {
			t.Errorf("%s begins with %.20q", name, b.Bytes())
		}
	}
	var e *Error
	if err := c.Profile(t.Context(), "cmdline", 0, 0, &bytes.Buffer{}); !errors.As(err, &e) || e.Code != 404 || !strings.Contains(err.Error(), "goroutine, heap") {
		t.Errorf("one that is not there: %v", err)
	}
	for _, query := range []string{"seconds=301", "seconds=-1", "seconds=x", "debug=3", "debug=1"} {
		if code, got := request(t, &fake{}, "GET", "/v1/debug/pprof/profile?"+query, ""); code != 400 {
			t.Errorf("%s: %d %s", query, code, got)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	conflict := func(err error) bool {
		var e *Error
		return errors.As(err, &e) && e.Code == http.StatusConflict
	}
	go func() {
		for {
			// The other one, below, may have come first.
			if err := c.Profile(ctx, "mutex", 0, maxProfileSeconds, &bytes.Buffer{}); !conflict(err) {
				ended <- err
				return
			}
		}
	}()
	for { // until it has begun
		err := c.Profile(t.Context(), "block", 0, 1, &bytes.Buffer{})
		if conflict(err) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel() // who goes away ends it
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for {
		err := c.Profile(t.Context(), "block", 0, 1, &bytes.Buffer{})
		if err == nil {
			break
		}
		if !conflict(err) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // the server has not noticed yet
	}
}
