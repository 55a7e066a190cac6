package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// The bounds that keep a client from hurting the daemon.
const (
	maxBody     = 1 << 20          // of a request
	maxHeader   = 64 << 10         // of a request
	answerTime  = 30 * time.Second // for a request that is not a stream, all in all
	stallTime   = 15 * time.Minute // how long a stream's reader may read nothing (a pager does)
	leaveTime   = 2 * time.Second  // for running answers when the daemon ends
	maxAnswers  = 128              // at once
	maxStreams  = 128              // at once, so that watchers can't lock out the rest
	maxSessions = 512              // commands at once, in all sandboxes
	maxAids     = 8                // what looks for faults, at once, whatever else is under way
)

// Config is what a Server needs.
type Config struct {
	Backend Backend // required
	Version Version // what GET /v1/version answers; optional
	Log     logr.Logger
	// Access says what users other than root and the daemon's may do; empty:
	// everything, if they can open the socket.
	Access []Grant
	// CgroupParent is where the cgroups of sandboxes are, whose processes are
	// refused; empty: nowhere.
	CgroupParent string
	// Audit is told of each change but commands in containers, before it is made;
	// optional. It must not block.
	Audit func(Audit)
}

// Server answers the API's requests.
type Server struct {
	cfg      Config
	handler  http.Handler
	refusals refusals
	// measuring is full while a profile is taken over a time.
	measuring chan struct{}

	mu      sync.Mutex
	answers map[*http.Request]string // that have not ended: what was asked
}

// New returns a Server; Serve runs it.
func New(c Config) (*Server, error) {
	if c.Backend == nil {
		return nil, errors.New("api: Backend is required")
	}
	s := &Server{cfg: c, refusals: refusals{log: c.Log}, measuring: make(chan struct{}, 1), answers: map[*http.Request]string{}}
	s.handler = s.mux()
	return s, nil
}

// Unfinished names the requests whose answers have not ended.
func (s *Server) Unfinished() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Values(s.answers))
}

// note has a request counted as unfinished until end is called.
func (s *Server) note(r *http.Request) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[r] = r.Method + " " + r.URL.Path
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.answers, r)
	}
}

// Serve answers what comes to l until ctx is done; it closes l and returns
// after the last answer has ended, with nil if ctx ended it. Streams are cut
// off then, so that their clients see that there may be more.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var running sync.WaitGroup
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Done()
			defer s.note(r)()
			s.handler.ServeHTTP(w, r)
		}),
		ConnContext:       s.withPeer,
		ConnState:         new(connections).note,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(logr.ToSlogHandler(s.cfg.Log), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	cut()
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if srv.Shutdown(leave) != nil {
		srv.Close() // wakes whoever writes to a client that does not read
	}
	running.Wait()
	if err == nil {
		<-failed
	}
	return err
}
