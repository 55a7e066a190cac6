package api

import (
	"context"
	_ "embed"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed openapi.json
var openAPI []byte

// route is one request that the server answers.
type route struct {
	method, path string
	query        []string // the parameters that it knows
	always       bool     // also while the daemon does not work yet
	aid          bool     // for who looks for faults: it has slots of its own, beside those of all others
	level        Level    // that its client needs
	note         note     // what is made of it being asked for
	// answer returns what to send as JSON; stream says that it is called
	// instead where the request asks for a stream.
	answer func(r *http.Request) (any, error)
	stream func(r *http.Request) streamer
	// session takes over the connection, or says why not.
	session func(w http.ResponseWriter, r *http.Request) error
}

// note says where it is noted who asked for something.
type note int

const (
	unnoted note = iota // it changes nothing
	logged              // in the daemon's log
	told                // in the events, too
	tells               // what answers it notes it in both, with what only the body says
)

// streamer sends until it is done; nil: the request asks for no stream.
type streamer func(ctx context.Context, w *streamWriter) error

func (s *Server) routes() []route {
	return []route{
		{method: "GET", path: "/healthz", level: Read, always: true, answer: s.health},
		{method: "GET", path: "/openapi.json", level: Read, always: true, answer: func(*http.Request) (any, error) { return rawJSON(openAPI), nil }},
		{method: "GET", path: "/v1/version", level: Read, always: true, answer: func(*http.Request) (any, error) { return s.cfg.Version, nil }},
		{method: "GET", path: "/v1/sandboxes", level: Read, query: []string{"watch", "fresh"}, answer: s.list, stream: s.watch},
		{method: "GET", path: "/v1/sandboxes/{name}", level: Read, query: []string{"watch"}, answer: s.get, stream: s.watch},
		{method: "GET", path: "/v1/sandboxes/{name}/describe", level: Read, answer: s.describe},
		{method: "GET", path: "/v1/sandboxes/{name}/logs", level: Read, stream: s.logs,
			query: []string{"container", "follow", "tail", "since", "timestamps", "previous", "entries", "after"}},
		{method: "POST", path: "/v1/sandboxes/{name}/restart", level: Operate, note: told, query: []string{"container", "gofer"}, answer: s.restart},
		{method: "POST", path: "/v1/sandboxes/{name}/exec", level: Operate, note: logged, query: []string{"container"}, session: s.exec},
		{method: "POST", path: "/v1/sandboxes/{name}/attach", level: Operate, note: logged, query: []string{"container"}, session: s.attach},
		{method: "GET", path: "/v1/sandboxes/{name}/processes", level: Read, query: []string{"container"}, answer: s.processes},
		{method: "GET", path: "/v1/sandboxes/{name}/stats", level: Read, answer: s.stats},
		{method: "POST", path: "/v1/sandboxes/{name}/kill", level: Operate, note: tells, query: []string{"container"}, answer: s.kill},
		{method: "POST", path: "/v1/sandboxes/{name}/checkpoint", level: Admin, note: told, stream: s.checkpoint},
		{method: "GET", path: "/v1/events", level: Read, query: []string{"sandbox", "follow"}, answer: s.events, stream: s.followEvents},
		{method: "POST", path: "/v1/confirm-deletions", level: Admin, note: told, answer: s.confirm},
		{method: "POST", path: "/v1/plan", level: Admin, answer: s.plan},
		{method: "GET", path: "/v1/debug/state", level: Admin, always: true, aid: true, answer: s.debugState},
		{method: "GET", path: "/v1/debug/log", level: Admin, always: true, aid: true, stream: s.debugLog},
		{method: "GET", path: "/v1/debug/pprof/{name}", level: Admin, always: true, aid: true, query: []string{"seconds", "debug"}, stream: s.profile},
	}
}

// mux puts the bounds around every route.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	answers, streams, sessions := make(chan struct{}, maxAnswers), make(chan struct{}, maxStreams), make(chan struct{}, maxSessions)
	aids := make(chan struct{}, maxAids)
	for _, rt := range s.routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			if err := s.allow(r, &rt); err != nil {
				s.fail(w, r, err)
				return
			}
			if err := knownQuery(r, rt.query); err != nil {
				s.fail(w, r, err)
				return
			}
			if !rt.always {
				if err := s.unready(r); err != nil {
					s.fail(w, r, err)
					return
				}
			}
			var stream streamer
			if rt.stream != nil {
				stream = rt.stream(r)
			}
			slots := answers
			switch {
			case rt.aid:
				slots = aids
			case stream != nil:
				slots = streams
			case rt.session != nil:
				slots = sessions
			}
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			default:
				s.fail(w, r, &Error{Code: http.StatusServiceUnavailable, Message: "too many requests at once; try again"})
				return
			}
			if stream != nil {
				s.send(w, r, stream)
				return
			}
			if rt.session != nil {
				if err := rt.session(w, r); err != nil {
					s.fail(w, r, err)
				}
				return
			}
			s.answer(w, r, rt.answer)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		// The mux knows whether the path or only the method is wrong, and says
		// it as text.
		refusal := &refusal{header: w.Header(), code: http.StatusNotFound}
		h.ServeHTTP(refusal, r)
		msg := "there is nothing at " + r.URL.Path + "; GET /openapi.json lists what there is"
		if refusal.code == http.StatusMethodNotAllowed {
			msg = r.URL.Path + " takes " + w.Header().Get("Allow") + ", not " + r.Method
		}
		s.fail(w, r, &Error{Code: refusal.code, Message: msg})
	})
}

// knownQuery refuses parameters that would be ignored: a misspelled one is no
// request for everything.
func knownQuery(r *http.Request, known []string) error {
	for k := range r.URL.Query() {
		if !slices.Contains(known, k) {
			list := "none"
			if len(known) > 0 {
				list = strings.Join(known, ", ")
			}
			return badRequest("unknown parameter %q; known here: %s", k, list)
		}
	}
	return nil
}

// answer sends one JSON value within answerTime.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, answer func(*http.Request) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	rc := http.NewResponseController(w)
	deadline := time.Now().Add(answerTime)
	_ = rc.SetReadDeadline(deadline) // only a test's recorder has no deadlines
	_ = rc.SetWriteDeadline(deadline.Add(answerTime))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v, err := answer(r.WithContext(ctx))
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

// send runs a stream. Once something is sent, an error can only be told by
// cutting the connection.
func (s *Server) send(w http.ResponseWriter, r *http.Request, stream streamer) {
	sw := &streamWriter{w: w, rc: http.NewResponseController(w)}
	err := stream(r.Context(), sw)
	if err != nil && !sw.began {
		s.fail(w, r, err)
		return
	}
	if err != nil {
		s.cfg.Log.V(1).Info("a stream was cut", "path", r.URL.Path, "error", err.Error())
		panic(http.ErrAbortHandler)
	}
	sw.begin("application/octet-stream")
}

// refusal takes what the mux answers to a request that it does not know.
type refusal struct {
	header http.Header
	code   int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(code int)        { r.code = code }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }
