package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/gofer"
	"sandboxer/gofer/serve"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
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
	Ends []uint64 `json:"ends"`
	// Grants are the places of the host that the container can write to.
	Grants []shelf.Place `json:"grants,omitempty"`
	// Shares are the volumes that it serves to all containers; none: it is a
	// container's.
	Shares []share `json:"shares,omitempty"`
}

func (a *Actuator) replacementOf(g *gofer.Gofer, all []served) (r replacement, err error) {
	r.Mounts = g.Kept.Number(mountsOf(all))
	if r.Grants, err = a.grantsOf(all); err != nil {
		return r, err
	}
	for _, s := range g.Sockets {
		end, err := gofer.EndOf(s)
		if err != nil {
			return r, err
		}
		r.Ends = append(r.Ends, end)
	}
	return r, nil
}

// goferState is what is kept of a gofer and its mounts. From then on its container
// may write where they say.
func (a *Actuator) goferState(g *gofer.Gofer, rec observed.ContainerRecord, shares []share, all []served) (json.RawMessage, error) {
	r, err := a.replacementOf(g, all)
	if err == nil && len(r.Grants) > 0 {
		err = a.c.Written.Begin(rec.Sandbox, r.Grants)
	}
	if err != nil {
		return nil, err
	}
	r.Shares = shares
	return json.Marshal(r)
}

// startGofer puts a container's mounts into its sandbox and starts a gofer for
// them in the sandbox's cgroup. Whether it serves is for the caller to ask.
func (a *Actuator) startGofer(rec *observed.Record, c observed.ContainerRecord, all []served) (*gofer.Gofer, error) {
	g, err := gofer.Open(len(all))
	if err != nil {
		return nil, err
	}
	if err := a.startOpened(rec, c, all, g); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// startOpened does so where the sockets are there already.
func (a *Actuator) startOpened(rec *observed.Record, c observed.ContainerRecord, all []served, g *gofer.Gofer) error {
	root, emptied, err := a.put(rec.Sentry, c.ID, treesOf(all))
	if err != nil {
		return err
	}
	defer root.Close()
	for _, why := range emptied {
		a.c.Emptied(c, why)
	}
	err = a.inCgroup(rec.Cgroup, func(config gofer.Config) error {
		config.ID, config.Mounts, config.Root = c.ID, mountsOf(all), root
		return g.Start(config)
	})
	if err != nil {
		err = errors.Join(err, shelf.Remove(rec.Sentry, c.ID))
	}
	return err
}

// put puts trees into a sandbox. A daemon that claims something meanwhile sees either
// them, and covers what is its own in them, or has claimed it before what is the
// last claims here: these are looked at again once the trees are there.
func (a *Actuator) put(sentry observed.Process, id string, trees []shelf.Tree) (root *os.File, emptied []string, err error) {
	claims, err := a.c.Claims()
	for err == nil {
		var guard shelf.Guard
		if guard, err = a.c.Guard(); err != nil {
			break
		}
		if root, emptied, err = shelf.Put(sentry, id, trees, guard); err != nil {
			break
		}
		before := claims
		if claims, err = a.c.Claims(); err == nil && claims == before {
			return root, emptied, nil
		}
		root.Close()
		if err == nil {
			continue
		}
		if left := shelf.Remove(sentry, id); left != nil {
			err = errors.Join(err, left)
		}
	}
	return nil, nil, err
}

// inCgroup gives start a configuration for a gofer in a sandbox's cgroup.
func (a *Actuator) inCgroup(path string, start func(gofer.Config) error) error {
	cg, err := a.c.Cgroups.Load(path)
	if err != nil {
		return err
	}
	return start(gofer.Config{Exe: a.c.GoferExe, Cgroup: cg})
}

// replaceGofer has a new gofer take over from a container's last one, which is
// ended first if it lives. The new one is on record before it serves, and does
// not serve unless this daemon says so: there are never two that do.
func (a *Actuator) replaceGofer(ctx context.Context, w work) error {
	rec := w.container()
	if rec == nil || w.rec == nil {
		return &StateError{ID: "container " + w.Container, State: "absent", Action: string(w.Verb)}
	}
	var r replacement
	if err := json.Unmarshal(rec.GoferState, &r); err != nil {
		return fmt.Errorf("%w: %w", plan.ErrGoferLost, err)
	}
	kept, err := a.kept(*rec)
	if err != nil {
		return err
	}
	root, err := a.mountsAgain(*rec, w.rec.Sentry, r)
	if err != nil {
		return err
	}
	defer root.Close()
	var s *gofer.Successor
	err = a.inCgroup(w.rec.Cgroup, func(c gofer.Config) (err error) {
		c.ID, c.Mounts, c.Root = rec.ID, r.Mounts, root
		s, err = gofer.Prepare(ctx, c, kept)
		return err
	})
	if err != nil {
		return asLost(err)
	}
	defer s.Close()
	if err := endProcess(rec.Gofer); err != nil {
		return err
	}
	if err := rec.Gofer.Await(ctx); err != nil {
		return err
	}
	rec.GoferFailures++
	if time.Since(rec.GoferSince) >= goferLived {
		rec.GoferFailures = 0
	}
	rec.Gofer, rec.GoferSince, rec.GoferVersion = s.Process(), time.Now(), a.c.Version
	rec.GoferRestarts++
	if err := a.update(*rec); err != nil {
		return err
	}
	if kept, err = s.TakeOver(ctx, r.Ends, w.rec.Sentry); err != nil {
		return asLost(err)
	}
	a.hold(rec.ID, kept)
	return nil
}

// mountsAgain is the directory with a container's mounts for a replacement of
// its gofer.
func (a *Actuator) mountsAgain(rec observed.ContainerRecord, sentry observed.Process, r replacement) (*os.File, error) {
	root, err := shelf.Open(sentry, rec.ID)
	if !errors.Is(err, shelf.ErrNone) {
		return root, err
	}
	// It was started by a version that had the mounts in its gofer's namespace:
	// what was covered there is so as long as that lasts.
	if err := shelf.Keep(sentry, rec.ID, rec.Gofer); err != nil && hadMasks(rec) {
		return nil, fmt.Errorf("%w: what it covered would show: %w", plan.ErrGoferLost, err)
	}
	var all []served
	defer func() { closeServed(all) }()
	for _, m := range r.Mounts {
		f, err := a.paths().Open(m.Source)
		if err != nil {
			return nil, err
		}
		s := serveFile(f, m.ReadOnly)
		s.tree.Own = within(filepath.Join(a.c.DataDir, "volumes"), m.Source)
		all = append(all, s)
	}
	root, _, err = a.put(sentry, rec.ID, treesOf(all))
	if errors.Is(err, shelf.ErrRefused) {
		err = fmt.Errorf("%w: %w", plan.ErrGoferLost, err)
	}
	return root, err
}

// hadMasks says whether a container of an earlier version had something covered.
func hadMasks(rec observed.ContainerRecord) bool {
	var was struct {
		Mounts []struct{ Masks []string }
	}
	_ = json.Unmarshal(rec.GoferState, &was) // it was read before
	return slices.ContainsFunc(was.Mounts, func(m struct{ Masks []string }) bool { return len(m.Masks) > 0 })
}

// grant writes down where a container that runs can write to, if that is not known
// any more.
func (a *Actuator) grant(rec observed.ContainerRecord) error {
	var r replacement
	if json.Unmarshal(rec.GoferState, &r) != nil || len(r.Grants) == 0 {
		return nil
	}
	return a.c.Written.Begin(rec.Sandbox, r.Grants)
}

func asLost(err error) error {
	if errors.Is(err, gofer.ErrLost) {
		return fmt.Errorf("%w: %w", plan.ErrGoferLost, err)
	}
	return err
}

// keep has a keeper hold what a container's gofer leaves, beside this daemon.
func (a *Actuator) keep(w work) error {
	rec := w.container()
	if rec == nil || w.rec == nil {
		return &StateError{ID: "container " + w.Container, State: "absent", Action: string(w.Verb)}
	}
	k, err := a.startKeeper(w.rec.Cgroup, *rec)
	if err != nil {
		return err
	}
	defer k.Close()
	rec.Keeper = k.Process
	if err := a.update(*rec); err != nil {
		return err
	}
	return k.Stay()
}

// startKeeper starts a keeper, which is to be told to stay once it is on
// record.
func (a *Actuator) startKeeper(cgroupPath string, rec observed.ContainerRecord) (k *gofer.Keeper, err error) {
	kept, err := a.kept(rec)
	if err != nil {
		return nil, err
	}
	var output []*os.File
	if !rec.IsServer() {
		if output, err = a.c.Logs.Readers(rec.Sandbox, rec.Name, rec.ID); err != nil {
			return nil, err
		}
	}
	defer closeAll(output)
	a.mu.Lock()
	t := a.terminals[rec.ID]
	a.mu.Unlock()
	held := output
	if t != nil {
		held = append(held, t.master)
	}
	err = a.inCgroup(cgroupPath, func(c gofer.Config) (err error) {
		c.ID = rec.ID
		k, err = gofer.Keep(c, kept, held)
		return err
	})
	return k, err
}

// errEnded says that a container has ended, and its end is on record.
var errEnded = fmt.Errorf("%w: the container has ended", plan.ErrChanged)

// update writes the record of a container that runs, with another gofer or
// keeper, unless it has ended meanwhile.
func (a *Actuator) update(rec observed.ContainerRecord) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiters[rec.ID]
	if w == nil {
		return errEnded
	}
	// Hooks may be over, and signals sent, since rec was read.
	rec.HookPhase, rec.Sent = w.rec.HookPhase, w.rec.Sent
	if err := a.saveRunning(rec); err != nil {
		return err
	}
	a.unwatchHelpers(w.rec)
	w.rec = rec
	return a.watchHelpers(rec)
}

// kept is what a replacement of a container's gofer needs: what this daemon
// holds, or else duplicates of what the gofer or the keeper does.
func (a *Actuator) kept(rec observed.ContainerRecord) (gofer.Kept, error) {
	a.mu.Lock()
	kept, ok := a.gofers[rec.ID]
	a.mu.Unlock()
	if ok {
		return kept, nil
	}
	var r replacement
	if err := json.Unmarshal(rec.GoferState, &r); err != nil {
		return gofer.Kept{}, fmt.Errorf("%w: %w", plan.ErrGoferLost, err)
	}
	for _, p := range []observed.Process{rec.Keeper, rec.Gofer} {
		kept, err := gofer.Take(p, r.Mounts)
		if errors.Is(err, observed.ErrGone) {
			continue
		}
		if err != nil {
			return gofer.Kept{}, err
		}
		a.hold(rec.ID, kept)
		return kept, nil
	}
	return gofer.Kept{}, fmt.Errorf("%w: nobody held its sockets when it died", plan.ErrGoferLost)
}

// errGoferDied ends a call that may wait for a dead gofer's answer.
var errGoferDied = errors.New("a gofer died meanwhile")

// whileServed makes a call to a sentry that is given up when one of the gofers
// dies: tasks that wait for its answer would hold up the call until it has a
// successor, which this call would hold up in turn.
func whileServed(ctx context.Context, gofers []observed.Process, call func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, g := range gofers {
		go func() {
			if g.Await(ctx) == nil {
				cancel(errGoferDied)
			}
		}()
	}
	return call(ctx)
}

// gofers are those of the containers that run.
func (w *work) gofers() (gofers []observed.Process) {
	for _, c := range slices.Concat(w.containers, w.servers) {
		if c.State == observed.Running {
			gofers = append(gofers, c.Gofer)
		}
	}
	return gofers
}

// hold keeps what a replacement of a container's gofer needs.
func (a *Actuator) hold(id string, kept gofer.Kept) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gofers[id] = kept
}

// connected says whether the sentry has its ends of a container's sockets, as
// it does while the container runs. The caller holds the lock.
func (a *Actuator) connected(id string) bool {
	kept, held := a.gofers[id]
	return held && kept.Connected()
}

// release lets go of it.
func (a *Actuator) release(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.letGo(id)
}

// letGo is release for who holds the lock.
func (a *Actuator) letGo(id string) {
	if kept, ok := a.gofers[id]; ok {
		kept.Close()
		delete(a.gofers, id)
	}
	a.endSilence(id)
}

// releaseDead lets go of it where the gofer is gone. The sentry then sees that
// nobody will answer: what waits for an answer would hold up a container's end
// for ever.
func (a *Actuator) releaseDead(ctx context.Context, c observed.ContainerRecord) error {
	if !gone(c.Gofer) {
		return nil
	}
	a.release(c.ID)
	if err := endProcess(c.Keeper); err != nil {
		return err
	}
	return c.Keeper.Await(ctx)
}

// discardGofer ends a gofer that no container came to use.
func discardGofer(g *gofer.Gofer) error {
	g.Close()
	return endProcess(g.Process)
}

// endHelpers kills the gofer and the keeper of a container that has ended. A
// gofer would end by itself once its sockets are closed, but nobody has to
// wait for that.
func endHelpers(rec observed.ContainerRecord) error {
	return errors.Join(endProcess(rec.Gofer), endProcess(rec.Keeper))
}

func endProcess(p observed.Process) error {
	if p.PID == 0 {
		return nil
	}
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, observed.ErrGone) {
		return fmt.Errorf("ending a container's gofer or keeper: %w", err)
	}
	return nil
}
