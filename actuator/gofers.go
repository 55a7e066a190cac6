package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/gofer"
	"sandboxer/gofer/serve"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// goferLived is how long a gofer must have lived for its successor to come at
// once.
const goferLived = 100 * time.Millisecond

// replacement is what a container's record keeps for the day its gofer dies.
type replacement struct {
	// Mounts are what it serves, with its own numbers of the sockets and
	// journals, under which a later daemon finds them in it.
	Mounts []serve.Mount `json:"mounts"`
	// Ends are the inode numbers of the sentry's ends of the sockets.
	Ends       []uint64 `json:"ends"`
	Generation int      `json:"generation"`
}

func goferState(g *gofer.Gofer, mounts []serve.Mount) (json.RawMessage, error) {
	r := replacement{Mounts: g.Kept.Number(mounts), Generation: g.Kept.Generation}
	for _, s := range g.Sockets {
		end, err := gofer.EndOf(s)
		if err != nil {
			return nil, err
		}
		r.Ends = append(r.Ends, end)
	}
	return json.Marshal(r)
}

// startGofer starts a gofer in the sandbox's cgroup.
func (a *Actuator) startGofer(ctx context.Context, cgroupPath, id string, mounts []serve.Mount) (g *gofer.Gofer, err error) {
	err = a.inCgroup(cgroupPath, func(c gofer.Config) error {
		c.ID, c.Mounts = id, mounts
		g, err = gofer.Start(ctx, c)
		return err
	})
	return g, err
}

// inCgroup gives start a configuration for a gofer in a sandbox's cgroup.
func (a *Actuator) inCgroup(path string, start func(gofer.Config) error) error {
	cg, err := a.c.Cgroups.Load(path)
	if err != nil {
		return err
	}
	procs, dir, err := enter(cg)
	if err != nil {
		return err
	}
	defer closeAll(append(procs, dir))
	return start(gofer.Config{Exe: a.c.GoferExe, CgroupProcs: procs, CgroupDir: dir})
}

// replaceGofer has a new gofer take over from a container's dead one.
func (a *Actuator) replaceGofer(ctx context.Context, w work) error {
	rec := w.container()
	if rec == nil || w.rec == nil {
		return &StateError{ID: "container " + w.Container, State: "absent", Action: string(w.Verb)}
	}
	var r replacement
	if err := json.Unmarshal(rec.GoferState, &r); err != nil {
		return fmt.Errorf("%w: %w", reconcile.ErrGoferLost, err)
	}
	a.mu.Lock()
	kept, ok := a.gofers[rec.ID]
	a.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: nobody held its sockets when it died", reconcile.ErrGoferLost)
	}
	var g *gofer.Gofer
	err := a.inCgroup(w.rec.Cgroup, func(c gofer.Config) (err error) {
		c.ID, c.Mounts = rec.ID, r.Mounts
		g, err = gofer.Replace(ctx, c, kept, r.Ends, w.rec.Sentry)
		return err
	})
	if errors.Is(err, gofer.ErrLost) {
		return fmt.Errorf("%w: %w", reconcile.ErrGoferLost, err)
	}
	if err != nil {
		return err
	}
	a.hold(rec.ID, g.Kept)
	rec.GoferFailures++
	if time.Since(rec.GoferSince) >= goferLived {
		rec.GoferFailures = 0
	}
	rec.Gofer, rec.GoferSince = g.Process, time.Now()
	rec.GoferRestarts++
	r.Mounts, r.Generation = g.Kept.Number(r.Mounts), g.Kept.Generation
	if rec.GoferState, err = json.Marshal(r); err != nil {
		return err
	}
	return a.goferReplaced(*rec)
}

// goferReplaced writes a container's record with its new gofer, unless the
// container has ended meanwhile and its end is recorded.
func (a *Actuator) goferReplaced(rec observed.ContainerRecord) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiters[rec.ID]
	if w == nil {
		return endGofer(rec.Gofer)
	}
	if err := a.c.Records.SaveContainer(rec); err != nil {
		return err
	}
	a.c.Watcher.Unwatch(w.rec.Gofer)
	w.rec = rec
	return a.watchGofer(rec)
}

// adoptGofer takes duplicates of what a running gofer has, so that it can be
// replaced under this daemon too.
func (a *Actuator) adoptGofer(rec observed.ContainerRecord) error {
	var r replacement
	if err := json.Unmarshal(rec.GoferState, &r); err != nil {
		return err
	}
	kept, err := gofer.Take(rec.Gofer, r.Mounts)
	if err != nil {
		return err
	}
	kept.Generation = r.Generation
	a.hold(rec.ID, kept)
	return nil
}

// hold keeps what a replacement of a container's gofer needs.
func (a *Actuator) hold(id string, kept gofer.Kept) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gofers[id] = kept
}

// release lets go of it.
func (a *Actuator) release(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if kept, ok := a.gofers[id]; ok {
		kept.Close()
		delete(a.gofers, id)
	}
}

// releaseDead lets go of it where the gofer is gone. The sentry then sees that
// nobody will answer: what waits for an answer would hold up a container's end
// for ever.
func (a *Actuator) releaseDead(c observed.ContainerRecord) {
	if alive, err := c.Gofer.Liveness(); err == nil && alive == observed.Gone {
		a.release(c.ID)
	}
}

// discardGofer ends a gofer that no container came to use.
func discardGofer(g *gofer.Gofer) error {
	g.Close()
	return endGofer(g.Process)
}

// endGofer kills a gofer whose container has ended. It would end by itself
// once its sockets are closed, but nobody has to wait for that.
func endGofer(p observed.Process) error {
	if p.PID == 0 {
		return nil
	}
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, observed.ErrGone) {
		return fmt.Errorf("ending a gofer: %w", err)
	}
	return nil
}
