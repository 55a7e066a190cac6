package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sandboxer/internal/events"
	"sandboxer/internal/logs"
)

// linesOfJSON is the type of a stream of JSON values, one per line.
const linesOfJSON = "application/jsonl"

// unready refuses what the daemon can't answer yet.
func (s *Server) unready(r *http.Request) error {
	if err := s.cfg.Backend.Health(r.Context()); err != nil {
		return &Error{Code: http.StatusServiceUnavailable, Message: err.Error()}
	}
	return nil
}

func (s *Server) health(r *http.Request) (any, error) {
	if err := s.unready(r); err != nil {
		return nil, err
	}
	return map[string]string{"status": "ok"}, nil
}

func (s *Server) list(r *http.Request) (any, error) {
	if name := r.URL.Query().Get("fresh"); name != "" {
		if err := s.cfg.Backend.Refresh(r.Context(), name); err != nil {
			return nil, err
		}
	}
	items := s.cfg.Backend.Sandboxes()
	if items == nil {
		items = []Sandbox{}
	}
	return List{Items: items}, nil
}

// watch streams all sandboxes, or the one that the path names.
func (s *Server) watch(r *http.Request) streamer {
	watch, err := boolean(r, "watch")
	if err != nil {
		return refuse(err)
	}
	if !watch {
		return nil
	}
	return func(ctx context.Context, w *streamWriter) error {
		w.begin(linesOfJSON)
		return s.cfg.Backend.Watch(ctx, r.PathValue("name"), func(c Change) error { return w.line(c) })
	}
}

func (s *Server) get(r *http.Request) (any, error) {
	return s.find(r.PathValue("name"))
}

func (s *Server) find(name string) (Sandbox, error) {
	sb, err := s.cfg.Backend.Sandbox(name)
	if errors.Is(err, ErrNotFound) {
		return Sandbox{}, unknown(name)
	}
	return sb, err
}

func unknown(name string) error {
	return &Error{Code: http.StatusNotFound, Message: fmt.Sprintf("there is no sandbox %q; \"sandboxer get\" lists those there are", name)}
}

func (s *Server) describe(r *http.Request) (any, error) {
	name := r.PathValue("name")
	d, err := s.cfg.Backend.Describe(r.Context(), name)
	if errors.Is(err, ErrNotFound) {
		return nil, unknown(name)
	}
	if d.Pending == nil {
		d.Pending = []Action{}
	}
	if d.Events == nil {
		d.Events = []events.Event{}
	}
	d.Events = d.Events[max(0, len(d.Events)-DescribeEvents):]
	return d, err
}

func (s *Server) events(r *http.Request) (any, error) {
	items := s.cfg.Backend.Events(r.URL.Query().Get("sandbox"))
	if items == nil {
		items = []events.Event{}
	}
	return EventList{Items: items}, nil
}

func (s *Server) followEvents(r *http.Request) streamer {
	follow, err := boolean(r, "follow")
	if err != nil {
		return refuse(err)
	}
	if !follow {
		return nil
	}
	return func(ctx context.Context, w *streamWriter) error {
		w.begin(linesOfJSON)
		return s.cfg.Backend.FollowEvents(ctx, r.URL.Query().Get("sandbox"),
			func(e events.Event) error { return w.line(e) })
	}
}

func (s *Server) logs(r *http.Request) streamer {
	o, err := logOptions(r)
	if err != nil {
		return refuse(err)
	}
	return func(ctx context.Context, w *streamWriter) error {
		sb, err := s.find(r.PathValue("name"))
		if err != nil {
			return err
		}
		container, err := chooseContainer(sb, r.URL.Query().Get("container"))
		if err != nil {
			return err
		}
		if o.Follow {
			w.begin("application/octet-stream")
		}
		err = s.cfg.Backend.Logs(ctx, sb.Name, container, o, w)
		if errors.Is(err, logs.ErrNoPrevious) {
			return &Error{Code: http.StatusNotFound, Message: fmt.Sprintf("%s/%s: %v", sb.Name, container, err)}
		}
		return err
	}
}

// chooseContainer finds the container that is meant; name may be empty where
// there is only one, init containers aside.
func chooseContainer(sb Sandbox, name string) (string, error) {
	var names []string
	for _, c := range sb.Status.All() {
		if c.Name == name {
			return name, nil
		}
	}
	for _, c := range sb.Status.Containers {
		names = append(names, c.Name)
	}
	switch {
	case len(names) == 0:
		return "", &Error{Code: http.StatusNotFound, Message: fmt.Sprintf("sandbox %q has no containers; \"sandboxer describe %s\" says why", sb.Name, sb.Name)}
	case name != "":
		for i := range sb.Status.InitContainers {
			names = append(names, sb.Status.InitContainers[i].Name)
		}
		return "", &Error{Code: http.StatusNotFound, Message: fmt.Sprintf("sandbox %q has no container %q; it has: %s", sb.Name, name, strings.Join(names, ", "))}
	case len(names) > 1:
		return "", badRequest("sandbox %q has several containers; say which: %s/%s", sb.Name, sb.Name, strings.Join(names, ", "+sb.Name+"/"))
	}
	return names[0], nil
}

func logOptions(r *http.Request) (logs.Options, error) {
	o := logs.Options{Tail: logs.All}
	var err error
	for name, to := range map[string]*bool{"follow": &o.Follow, "timestamps": &o.Timestamps, "previous": &o.Previous, "entries": &o.Entries} {
		if *to, err = boolean(r, name); err != nil {
			return o, err
		}
	}
	q := r.URL.Query()
	o.After = q.Get("after")
	if v := q.Get("tail"); v != "" && v != "all" {
		if o.Tail, err = strconv.Atoi(v); err != nil || o.Tail < 0 {
			return o, badRequest("parameter tail=%q: want a number of lines from 0 up, or all", v)
		}
	}
	if v := q.Get("since"); v != "" {
		if o.Since, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return o, badRequest("parameter since=%q: want a time such as 2026-01-02T15:04:05Z", v)
		}
	}
	if err := o.Check(); err != nil {
		return o, badRequest("%v", err)
	}
	return o, nil
}

// boolean reads a parameter that is off where it is left out.
func boolean(r *http.Request, name string) (bool, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, badRequest("parameter %s=%q: want 1 or 0", name, v)
	}
	return b, nil
}

// refuse is the stream that was not understood.
func refuse(err error) streamer {
	return func(context.Context, *streamWriter) error { return err }
}

func (s *Server) restart(r *http.Request) (any, error) {
	gofers, err := boolean(r, "gofer")
	if err != nil {
		return nil, err
	}
	sb, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	var names []string
	if c := r.URL.Query().Get("container"); c != "" {
		if c, err = chooseContainer(sb, c); err != nil {
			return nil, err
		}
		names = append(names, c)
	} else {
		for _, c := range sb.Status.All() {
			names = append(names, c.Name)
		}
	}
	asked, err := s.cfg.Backend.Restart(r.Context(), sb.Name, names, gofers)
	return Restarted{Asked: asked, Containers: names}, err
}

func (s *Server) confirm(r *http.Request) (any, error) {
	var req ConfirmRequest
	if err := decode(r, &req, `{"names": ["web"]}`); err != nil { // no body: all
		return nil, err
	}
	done, err := s.cfg.Backend.ConfirmDeletions(r.Context(), req.Names)
	if done.Confirmed == nil {
		done.Confirmed = []string{}
	}
	return done, err
}

func (s *Server) plan(r *http.Request) (any, error) {
	var req PlanRequest
	if err := decode(r, &req, `{"paths": ["/etc/sandboxer.d"]}`); err != nil { // no body: no paths
		return nil, err
	}
	for _, p := range req.Paths {
		if !filepath.IsAbs(p) {
			return nil, badRequest("path %q is relative; the daemon needs absolute ones", p)
		}
	}
	p, err := s.cfg.Backend.Plan(r.Context(), req.Paths)
	if p.Actions == nil {
		p.Actions = []Action{}
	}
	return p, err
}

// decode reads a request's body strictly; no body leaves v as it is. like is
// what a body looks like.
func decode(r *http.Request, v any, like string) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var tooBig *http.MaxBytesError
	switch {
	case err == nil, err == io.EOF:
		return nil
	case errors.As(err, &tooBig):
		return err
	}
	return badRequest("the request is not understood: %v; want %s", err, like)
}

func (s *Server) kill(r *http.Request) (any, error) {
	var req KillRequest
	if err := decode(r, &req, `{"signal": "SIGTERM"}`); err != nil {
		return nil, err
	}
	sb, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	container, err := chooseContainer(sb, r.URL.Query().Get("container"))
	if err != nil {
		return nil, err
	}
	s.signalled(r, container, req)
	return struct{}{}, s.cfg.Backend.Kill(r.Context(), sb.Name, container, req)
}

func (s *Server) stats(r *http.Request) (any, error) {
	sb, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	v, err := s.cfg.Backend.Stats(r.Context(), sb.Name)
	if v.Containers == nil {
		v.Containers = []ContainerStats{}
	}
	return v, err
}

func (s *Server) processes(r *http.Request) (any, error) {
	sb, err := s.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	only := r.URL.Query().Get("container")
	if only != "" {
		if _, err := chooseContainer(sb, only); err != nil {
			return nil, err
		}
	}
	found, err := s.cfg.Backend.Processes(r.Context(), sb.Name)
	list := ProcessList{Items: []Process{}}
	for _, c := range sb.Status.All() {
		if only == "" || c.Name == only {
			list.Items = append(list.Items, found[c.Name]...)
		}
	}
	return list, err
}
