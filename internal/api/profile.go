package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profiles are the ones that can be had of the daemon. Those that are taken over a
// time are taken one at a time: who measures would measure the other.
var Profiles = []string{"allocs", "block", "goroutine", "heap", "mutex", "profile", "threadcreate", "trace"}

// How long a profile is taken, in seconds: where a request does not say it, and at most.
const (
	profileSeconds    = 10
	maxProfileSeconds = 300
)

// What is counted of what waits while the block or the mutex profile is taken: each
// wait of that many nanoseconds, and one of so many contended mutexes.
const (
	blockRate     = 10_000
	mutexFraction = 5
)

func (s *Server) debugState(r *http.Request) (any, error) {
	return s.cfg.Backend.DebugState(r.Context()), nil
}

// debugLog sends what is kept of the daemon's log.
func (s *Server) debugLog(*http.Request) streamer {
	return func(_ context.Context, w *streamWriter) error {
		w.begin("text/plain; charset=utf-8")
		log := s.cfg.Backend.RecentLog()
		if len(log) == 0 {
			return nil
		}
		_, err := w.Write(log)
		return err
	}
}

// profile sends a profile of the daemon, as pprof (or, of a trace, "go tool trace")
// reads it.
func (s *Server) profile(r *http.Request) streamer {
	name := r.PathValue("name")
	if !slices.Contains(Profiles, name) {
		return refuse(&Error{Code: http.StatusNotFound, Message: fmt.Sprintf("there is no profile %q; there are %s", name, strings.Join(Profiles, ", "))})
	}
	seconds, err := number(r, "seconds", profileSeconds, maxProfileSeconds)
	if err != nil {
		return refuse(err)
	}
	debug, err := number(r, "debug", 0, 2)
	if err != nil {
		return refuse(err)
	}
	if debug > 0 && (name == "profile" || name == "trace") {
		return refuse(badRequest("there is no text of the profile %q: leave out debug", name))
	}
	return func(ctx context.Context, w *streamWriter) error {
		show := func() error {
			w.begin(profileType(debug))
			return pprof.Lookup(name).WriteTo(w, debug)
		}
		start, stop := taking(name, w, show)
		if start == nil {
			return show()
		}
		select {
		case s.measuring <- struct{}{}:
			defer func() { <-s.measuring }()
		default:
			return &Error{Code: http.StatusConflict, Message: "another profile is being taken; try again later"}
		}
		if err := start(); err != nil {
			return &Error{Code: http.StatusConflict, Message: err.Error()}
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
		}
		return stop()
	}
}

// taking is what begins and ends a profile that is taken over a time; nil where it
// is one of how things stand, which show shows.
func taking(name string, w io.Writer, show func() error) (start, stop func() error) {
	switch name {
	case "profile":
		return func() error { return pprof.StartCPUProfile(w) },
			func() error { pprof.StopCPUProfile(); return nil }
	case "trace":
		return func() error { return trace.Start(w) },
			func() error { trace.Stop(); return nil }
	case "block":
		return func() error { runtime.SetBlockProfileRate(blockRate); return nil },
			func() error { runtime.SetBlockProfileRate(0); return show() }
	case "mutex":
		return func() error { runtime.SetMutexProfileFraction(mutexFraction); return nil },
			func() error { runtime.SetMutexProfileFraction(0); return show() }
	}
	return nil, nil
}

func profileType(debug int) string {
	if debug > 0 {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// number reads a parameter of 0 to most.
func number(r *http.Request, name string, otherwise, most int) (int, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > most {
		return 0, badRequest("parameter %s=%q: want 0 to %d", name, v, most)
	}
	return n, nil
}
