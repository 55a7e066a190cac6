package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandboxer/desired"
	"sandboxer/internal/hook"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// errNotWanted ends hooks whose container is not to be started any more.
var errNotWanted = errors.New("its container is not to be started any more")

// HookEnd is how one hook has ended.
type HookEnd struct {
	Sandbox, Container string
	Point              string // prestart, createRuntime, poststart or poststop
	Path               string
	Output             string // the last of it
	Err                error  // nil: it has succeeded
	Took               time.Duration
}

// createHooks runs the hooks that come before an instance's command, beside
// everything else, and pokes the loop. What becomes of it is in its record.
func (a *Actuator) createHooks(rec observed.ContainerRecord, h desired.Hooks, sentry observed.Process) {
	a.beside(rec, func(ctx context.Context) {
		err := a.runHooks(ctx, rec, "prestart", h.Prestart, specs.StateCreating, sentry.PID)
		if err == nil {
			err = a.runHooks(ctx, rec, "createRuntime", h.CreateRuntime, specs.StateCreating, sentry.PID)
		}
		if ctx.Err() != nil {
			return // who ended them knows how to go on
		}
		rec.HookPhase = observed.HooksCreated
		if err != nil {
			rec.HookPhase, rec.State = observed.HooksOwed, observed.Stopped
			rec.StartedAt = time.Now()
			rec.Exit = startError(err)
		}
		a.persist(ctx, rec)
	})
}

// poststartHooks runs the hooks that follow a command's start.
func (a *Actuator) poststartHooks(rec observed.ContainerRecord, sentry observed.Process) {
	if rec.HookPhase != observed.HooksStarted {
		return
	}
	h := a.hooksOf(rec)
	a.beside(rec, func(ctx context.Context) {
		for _, one := range h.Poststart {
			_ = a.runHooks(ctx, rec, "poststart", []desired.Hook{one}, specs.StateRunning, sentry.PID) // told of as a warning
		}
		if ctx.Err() != nil {
			return
		}
		if err := a.poststarted(rec.ID, afterStart(h)); err != nil {
			a.c.Log.V(1).Info("writing a record failed", "sandbox", rec.Sandbox, "container", rec.Name, "error", err.Error())
		}
	})
}

// poststarted notes that a running container's poststart hooks are over. One
// that has ended meanwhile is released by the loop in any case.
func (a *Actuator) poststarted(id string, next observed.HookPhase) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiters[id]
	if w == nil {
		return nil
	}
	rec := w.rec
	rec.HookPhase = next
	if err := a.saveRunning(rec); err != nil {
		return err
	}
	w.rec = rec
	return nil
}

// releaseInstance takes an instance that does not run out of the sandbox and
// has its poststop hooks run, beside everything else.
func (a *Actuator) releaseInstance(ctx context.Context, w work) error {
	c := w.container()
	if c == nil {
		return fmt.Errorf("%w: container %q is not there any more", plan.ErrChanged, w.Container)
	}
	if err := a.endCreateHooks(ctx, c); err != nil {
		return err
	}
	sentry, err := w.sentry()
	if err == nil {
		err = a.discard(ctx, sentry, *c)
	} else {
		err = a.forget(*c)
	}
	if err != nil {
		return err
	}
	return a.poststop(*c)
}

// releaseAll has the poststop hooks run of all instances of a sandbox of which
// nothing is left. Those that are suspended have not ended, and no records.
func (a *Actuator) releaseAll(ctx context.Context, sandbox string) error {
	loaded, err := a.c.Records.Load(sandbox)
	errs := []error{err}
	for _, c := range loaded.Containers {
		if c.HookPhase == "" || c.HookPhase == observed.HooksStopping {
			continue
		}
		if err := a.endCreateHooks(ctx, &c); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, a.poststop(c))
	}
	return errors.Join(errs...)
}

// endCreateHooks ends the hooks that come before an instance's command, which
// is not to run any more.
func (a *Actuator) endCreateHooks(ctx context.Context, c *observed.ContainerRecord) error {
	if c.HookPhase != observed.HooksCreating {
		return nil
	}
	if err := a.endHooks(ctx, *c); err != nil {
		return err
	}
	// They may have succeeded, or failed, in the last moment.
	loaded, err := a.c.Records.Load(c.Sandbox)
	for _, now := range loaded.Containers {
		if now.ID == c.ID {
			*c = now
		}
	}
	return err
}

// poststop begins with the poststop hooks of an instance of which nothing is
// left but its record.
func (a *Actuator) poststop(c observed.ContainerRecord) error {
	if len(a.hooksOf(c).Poststop) == 0 {
		return a.hooksOver(c)
	}
	c.HookPhase, c.HooksDone = observed.HooksStopping, 0
	if err := a.c.Records.SaveContainer(c); err != nil {
		return err
	}
	a.poststopHooks(c)
	return nil
}

// poststopHooks runs those that were not run to their end yet.
func (a *Actuator) poststopHooks(c observed.ContainerRecord) {
	a.beside(c, func(ctx context.Context) {
		hooks := a.hooksOf(c).Poststop
		for c.HooksDone < len(hooks) {
			_ = a.runHooks(ctx, c, "poststop", hooks[c.HooksDone:c.HooksDone+1], specs.StateStopped, 0) // told of as a warning
			if ctx.Err() != nil {
				return // the next daemon runs this one again
			}
			c.HooksDone++
			if c.HooksDone < len(hooks) {
				a.persist(ctx, c)
			}
		}
		for ctx.Err() == nil && a.hooksOver(c) != nil {
			rest(ctx, endRetry)
		}
	})
}

// hooksOver notes that nothing is left to be done for an instance.
func (a *Actuator) hooksOver(c observed.ContainerRecord) error {
	c.Hooks, c.HooksSeal, c.HookPhase, c.HooksDone = nil, "", "", 0
	return errors.Join(os.RemoveAll(a.hookDir(c)), a.c.Records.SaveContainer(c))
}

// adoptHooks goes on with what an earlier daemon had begun. What hook ran when
// it ended has ended with it and is run again; where a command was to follow,
// its instance is given up.
func (a *Actuator) adoptHooks(c observed.ContainerRecord, sentry observed.Process) error {
	switch c.HookPhase {
	case observed.HooksCreating:
		c.HookPhase = observed.HooksOwed
		return a.c.Records.SaveContainer(c)
	case observed.HooksStarted:
		if c.State == observed.Running {
			a.poststartHooks(c, sentry)
		}
	case observed.HooksStopping:
		a.poststopHooks(c)
	}
	return nil
}

// runHooks runs hooks one after the other; the first that fails is the last.
func (a *Actuator) runHooks(ctx context.Context, c observed.ContainerRecord, point string, hooks []desired.Hook, status specs.ContainerState, pid int) error {
	for _, h := range hooks {
		dir := a.hookDir(c)
		state, err := json.Marshal(specs.State{Version: specs.Version, ID: c.ID, Status: status, Pid: pid,
			Bundle: dir, Annotations: a.hookAnnotations(c)})
		if err != nil {
			return err
		}
		if _, err := os.Stat(dir); err != nil {
			dir = "/" // it was begun with and could not be made
		}
		began := time.Now()
		said := ""
		folder, name, err := a.program(h.Path)
		if err == nil {
			said, err = hook.Run(ctx, a.c.Reaper, hook.Hook{Path: h.Path, Folder: folder, Name: name, Args: h.Args, Env: h.Env, Dir: dir, Timeout: h.Limit()}, state)
			folder.Close()
		}
		a.c.Hooked(HookEnd{Sandbox: c.Sandbox, Container: c.Name, Point: point, Path: h.Path, Output: said, Err: err, Took: time.Since(began)})
		if err != nil {
			return fmt.Errorf("%s hook %s: %w%s", point, h.Path, err, lastWords(said))
		}
	}
	return nil
}

// lastWords is the end of what a failed hook said, for an error's text.
func lastWords(said string) string {
	const most = 200
	if said == "" {
		return ""
	}
	if len(said) > most {
		said = "…" + said[len(said)-most:]
	}
	return fmt.Sprintf("; it said %q", said)
}

// hookDir is what hooks are told is the instance's bundle.
func (a *Actuator) hookDir(c observed.ContainerRecord) string {
	return filepath.Join(a.hookDirs(c.Sandbox), c.ID)
}

func (a *Actuator) hookDirs(sandbox string) string {
	return filepath.Join(a.c.Records.Dir(sandbox), "bundles")
}

// writeHookBundle makes the bundle that hooks are told of: the instance's
// specification, as the sandbox gets it, but for the host's root and for
// variables whose values are in files.
func (a *Actuator) writeHookBundle(c observed.ContainerRecord, declared *desired.Container, b bundle) error {
	spec, process := *b.spec, *b.spec.Process
	process.Env, process.Args = withoutSecrets(process.Env, declared), b.shown
	spec.Process = &process
	spec.Root = &specs.Root{Path: b.root, Readonly: b.spec.Root.Readonly}
	h := b.hooks
	//lint:ignore SA1019 OCI has deprecated prestart hooks, and they are in use.
	spec.Hooks = &specs.Hooks{Prestart: ociHooks(h.Prestart),
		CreateRuntime: ociHooks(h.CreateRuntime), Poststart: ociHooks(h.Poststart), Poststop: ociHooks(h.Poststop)}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(a.hookDir(c), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.hookDir(c), "config.json"), text, 0o600)
}

// hookAnnotations are what hooks are told of an instance: what its bundle says
// of itself and whose container it is.
func (a *Actuator) hookAnnotations(c observed.ContainerRecord) map[string]string {
	var spec specs.Spec
	b, err := os.ReadFile(filepath.Join(a.hookDir(c), "config.json"))
	if err != nil || json.Unmarshal(b, &spec) != nil {
		return annotations(c.Sandbox, c.Name) // it was begun with and could not be made
	}
	return spec.Annotations
}

func ociHooks(list []desired.Hook) (hooks []specs.Hook) {
	for _, h := range list {
		hooks = append(hooks, specs.Hook{Path: h.Path, Args: h.Args, Env: h.Env, Timeout: new(int(*h.Timeout))})
	}
	return hooks
}

// afterStart is the phase of an instance whose command runs and whose poststart
// hooks are over.
func afterStart(h desired.Hooks) observed.HookPhase {
	if len(h.Poststop) == 0 {
		return ""
	}
	return observed.HooksOwed
}
