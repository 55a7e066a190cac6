package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Level is what a client may do; each includes the one before it. The zero
// Level is none that a route can have.
type Level int

// The levels.
const (
	// Read sees how sandboxes stand, what they are declared as and what they say.
	Read Level = iota + 1
	// Operate does to sandboxes what is undone by what is declared, and whatever
	// can be done in their containers.
	Operate
	// Admin does the rest, with the rights of root on the host.
	Admin
)

var levelNames = map[Level]string{Read: "read", Operate: "operate", Admin: "admin"}

func (l Level) String() string { return levelNames[l] }

// LevelOf is the level of that name.
func LevelOf(name string) (Level, error) {
	for l, n := range levelNames {
		if n == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%q is no level: want read, operate or admin", name)
}

// Grant is what the members of a group may do.
type Grant struct {
	GID   uint32
	Level Level
}

// level is the most that a peer may do; 0: nothing. Without any grant whoever
// can open the socket may do everything.
func (s *Server) level(p peer) (most Level) {
	if trusted(p.uid) || len(s.cfg.Access) == 0 {
		return Admin
	}
	for _, g := range s.cfg.Access {
		if g.GID == p.gid || slices.Contains(p.groups, g.GID) {
			most = max(most, g.Level)
		}
	}
	return most
}

// allow refuses a request that its peer may not make, and notes one that
// changes something.
func (s *Server) allow(r *http.Request, rt *route) error {
	p := asker(r)
	err := p.refused
	if err == nil {
		switch may := s.level(p); {
		case may == 0:
			err = fmt.Errorf("uid %d is in no group that may use this API", p.uid)
		case may < rt.level:
			err = fmt.Errorf("uid %d may %s, not %s, which %s %s needs", p.uid, may, rt.level, r.Method, brief(r.URL.Path))
		}
	}
	if err != nil {
		s.refusals.note("method", brief(r.Method), "path", brief(r.URL.Path), "uid", p.uid, "pid", p.pid, "reason", err.Error())
		return &Error{Code: http.StatusForbidden, Message: err.Error() + "; the daemon's configuration file (access) says who may do what"}
	}
	if rt.note == unnoted || rt.note == tells {
		return nil
	}
	a := auditOf(r, p)
	s.cfg.Log.Info("a change was asked for", "method", a.Method, "path", a.Path, "uid", a.UID, "pid", a.PID, "program", a.Program)
	if s.cfg.Audit != nil && rt.note == told {
		s.cfg.Audit(a)
	}
	return nil
}

// signalled notes who asked for a signal. That a window has another size is noted
// for developers alone: it comes many times in a row.
func (s *Server) signalled(r *http.Request, container string, k KillRequest) {
	a := auditOf(r, asker(r))
	a.Container, a.Signal = container, &k
	level := 0
	if k.WindowChanged() {
		level = 1
	}
	s.cfg.Log.V(level).Info("a signal was asked for", "method", a.Method, "path", a.Path, "signal", brief(k.Signal), "process", k.PID,
		"uid", a.UID, "pid", a.PID, "program", a.Program)
	if s.cfg.Audit != nil {
		s.cfg.Audit(a)
	}
}

func auditOf(r *http.Request, p peer) Audit {
	return Audit{Method: r.Method, Path: strings.TrimSuffix(r.URL.RequestURI(), "?"), Sandbox: r.PathValue("name"), UID: p.uid, PID: p.pid, Program: p.program}
}

// asker is who has sent a request.
func asker(r *http.Request) peer {
	if ask, ok := r.Context().Value(peerKey{}).(func() peer); ok {
		return ask()
	}
	return peer{refused: errors.New("nobody knows who connects")}
}

// Audit says who asked for a change.
type Audit struct {
	Method, Path string
	Sandbox      string // empty: of none alone
	UID          uint32
	PID          int
	Program      string
	// Container and Signal are of a signal alone.
	Container string
	Signal    *KillRequest
}
