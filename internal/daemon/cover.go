package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/answers"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/claims"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/sentry"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

// What becomes a daemon's own is covered in the sandboxes that run, and taken from
// those that have it open, before anything is written there or obeyed. Each daemon does
// that for itself, in all sandboxes of the host: theirs may be dead, or be older.

// reach is that a sandbox can reach things that are to be out of reach.
type reach struct {
	things []shelf.Thing
	// forGood: nothing will change that while the sandbox runs.
	forGood bool
	ours    bool // it is a sandbox of this daemon's
	why     error
}

// ownTime is how long a daemon waits for what can't be taken from a sandbox.
const ownTime = 5 * time.Second

// keepOwn has this daemon's own be out of reach of all containers that run. What its
// own sandboxes do not let go of is told and keeps it from nothing: nobody else could
// have them go on, or end them.
func (d *daemon) keepOwn(ctx context.Context, checker *answers.Checker) error {
	var deadline time.Time
	for {
		// An end is heeded between rounds: who is asked to end has work to do before.
		left, err := d.cover(context.WithoutCancel(ctx), checker, false)
		if err != nil {
			return err
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(ownTime)
		}
		for _, r := range left {
			if r.ours {
				d.c.Log.Error(r.why, "a sandbox may reach what is kept from it until it is ended")
			}
		}
		left = d.ofOthers(left)
		if len(left) == 0 {
			return nil
		}
		if late := time.Now().After(deadline); late || slices.ContainsFunc(left, isForGood) {
			return refused(left)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(ownTime / 50):
		}
	}
}

// exposed is why this daemon's own can't be kept from all containers that run, as far as
// that can be told with nothing covered.
func (d *daemon) exposed(ctx context.Context, checker *answers.Checker) error {
	left, err := d.cover(ctx, checker, true)
	if left = d.ofOthers(left); err == nil && len(left) > 0 {
		err = refused(left)
	}
	return err
}

// ofOthers is what keeps this daemon from its start: what others' sandboxes reach.
func (d *daemon) ofOthers(left []reach) []reach {
	return slices.DeleteFunc(left, func(r reach) bool { return r.ours || !slices.ContainsFunc(r.things, d.isOwn) })
}

func isForGood(r reach) bool { return r.forGood }

func refused(left []reach) error {
	why := left[0].why
	for _, r := range left {
		if r.forGood {
			why = r.why
		}
	}
	return fmt.Errorf("%w: end that sandbox, or choose another directory", why)
}

func (d *daemon) isOwn(t shelf.Thing) bool {
	return slices.ContainsFunc(d.own.all(), func(o shelf.Thing) bool { return o.Path == t.Path && o.What == t.What })
}

// cover hides what is to be hidden by now, if that is not what was hidden last: this
// daemon's own in all sandboxes of the host, and in its own ones also what is others',
// which may not do that. It returns what can be reached all the same; with dry, what
// could for good, and nothing is hidden.
func (d *daemon) cover(ctx context.Context, checker *answers.Checker, dry bool) (left []reach, err error) {
	done, sure, err := claims.Covering(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	// Who may be refused covers its own by itself, and knows what to take back.
	guard, err := d.guardOf(ctx, checker, d.own.all(), func(c *claims.Claim) bool { return c.Starting == "" })
	if err != nil {
		return nil, err
	}
	all, err := guard.Look()
	if err != nil || all.Text() == d.covered {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	all = all.Noting(d.starting)
	foreign := all.Foreign()
	own := foreign.Of(d.isOwn)
	check := onlyPath(checker.Scan(scanPatience))
	sandboxes, err := d.sandboxes(check, func(s *sandboxOf) bool {
		s.look, s.own, s.all, s.dry = own, own, foreign, dry
		if s.ours() {
			s.look, s.all = all, all
			return true
		}
		return own.Text() != d.ownCovered // or it is done
	})
	if err != nil {
		return nil, err
	}
	if left, err = coverAll(ctx, sandboxes, func(s *sandboxOf) []reach { return s.cover(ctx, check) }); err != nil {
		return nil, err
	}
	if dry || !sure { // it is covered once more, and counts then
		return left, nil
	}
	if !slices.ContainsFunc(left, func(r reach) bool { return !r.forGood }) {
		d.covered, d.ownCovered = all.Text(), own.Text()
	}
	if d.kept.renew(own, left) {
		err = claims.Write(d.claim())
		if d.directory != nil {
			d.directory.Rescan() // what was refused until now
		}
	}
	return left, err
}

// sandboxes are those of all daemons, or of those that are wanted.
func (d *daemon) sandboxes(check func(path string) error, wanted func(*sandboxOf) bool) (all []sandboxOf, err error) {
	host := claims.Host{Answers: check, Cgroups: d.cgroups}
	daemons, err := claims.All(host)
	if err != nil {
		return nil, err
	}
	for _, c := range daemons {
		s := sandboxOf{d: d, claim: c}
		if !wanted(&s) || c.CgroupParent == "" && !s.ours() {
			continue // an earlier version's claim does not say where its sandboxes are
		}
		names, err := d.cgroups.List(c.CgroupParent) // not by records, which may be lost
		if err != nil {
			return nil, err
		}
		for _, s.name = range names {
			if claims.Owner(c, s.name, daemons, host).StateDir != c.StateDir {
				continue
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// atOnce is in how many sandboxes something is covered at a time: one may not answer.
const atOnce = 16

// coverAll covers in many sandboxes, each of which may take its time, and returns what
// can be reached in them all the same, in their order. Who is interrupted knows nothing
// of that: what was out of reach still is, and is not to count as reached.
func coverAll(ctx context.Context, sandboxes []sandboxOf, cover func(*sandboxOf) []reach) (left []reach, err error) {
	found := make([][]reach, len(sandboxes))
	free := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range sandboxes {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			found[i] = cover(&sandboxes[i])
		})
	}
	all.Wait()
	for i := range found {
		for _, r := range found[i] {
			r.ours = sandboxes[i].ours()
			left = append(left, r)
		}
	}
	if len(left) > 0 && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return left, nil
}

func onlyPath(check func(path string, linkFree bool) error) func(string) error {
	return func(path string) error { return check(path, false) }
}

// sandboxOf is a sandbox of some daemon.
type sandboxOf struct {
	d     *daemon
	claim claims.Claim
	name  string
	// look is what is covered in it, own what is this daemon's own, all what is any
	// daemon's.
	look, own, all *shelf.Look
	dry            bool // nothing is covered
}

func (s *sandboxOf) ours() bool { return s.claim.StateDir == s.d.c.StateDir }

func (s *sandboxOf) String() string {
	if s.ours() {
		return fmt.Sprintf("sandbox %q", s.name)
	}
	return fmt.Sprintf("sandbox %q of the daemon on %s", s.name, s.claim.StateDir)
}

// cover hides things in one, and takes them from it.
func (s *sandboxOf) cover(ctx context.Context, check func(path string) error) (left []reach) {
	runs, err := s.find()
	if err != nil && s.dry {
		return nil
	}
	if err != nil {
		return []reach{{things: s.d.own.all(), why: fmt.Errorf("what %s can reach can't be told: %w", s, err)}}
	}
	if runs == nil {
		return nil // none of its containers was started
	}
	things, any, err := runs.Shows(s.look)
	if err == nil && !any {
		return nil
	}
	if err == nil {
		err = errors.Join(check(s.claim.StateDir), check(s.claim.DataDir))
	}
	var volumes []shelf.Place
	if err == nil {
		volumes, err = s.volumes()
	}
	if err == nil {
		err = runs.Pin()
		defer runs.Unpin()
	}
	var exposed []shelf.Exposed
	if err == nil && s.dry {
		exposed, err = shelf.Exposes(runs, s.look)
	} else if err == nil {
		exposed, err = shelf.Cover(runs, s.look)
	}
	for _, e := range exposed {
		if !e.Tree.In(volumes) {
			left = append(left, reach{things: []shelf.Thing{e.Thing}, forGood: true, why: fmt.Errorf("%s runs: %s", s, e)})
		}
	}
	if s.dry {
		return left // who covers tells of errors
	}
	if err == nil && len(things) > 0 {
		err = s.take(ctx, runs)
	}
	if held, ok := errors.AsType[*heldError](err); ok {
		things = held.of(things)
	}
	if err != nil && !errors.Is(err, observed.ErrGone) {
		left = append(left, reach{things: things, why: fmt.Errorf("%s can reach what is kept from it (%s): %w", s, names(things), err)})
	}
	return left
}

// find looks for what runs of it; nil: nothing.
func (s *sandboxOf) find() (*shelf.Sandbox, error) {
	pids, _, err := s.d.cgroups.Procs(s.cgroup())
	if err != nil {
		return nil, err
	}
	return shelf.Find(pids)
}

func names(things []shelf.Thing) string {
	var all []string
	for _, t := range things {
		all = append(all, strings.TrimSuffix(t.What, ",")+" "+t.Path)
	}
	return strings.Join(all, ", ")
}

// volumes is where the sandbox's daemon has made its emptyDirs and the like, which are
// inside what is that daemon's own.
func (s *sandboxOf) volumes() ([]shelf.Place, error) {
	f, err := os.OpenFile(filepath.Join(s.claim.DataDir, "volumes", s.name), unix.O_PATH, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mounts, err := mountinfo.Read()
	if err != nil {
		return nil, err
	}
	where, err := shelf.Locate(f, mounts)
	return []shelf.Place{where}, err
}

// errFrozen is of a sandbox whose sentry would answer nobody.
var errFrozen = errors.New("its cgroup is frozen, so that its sentry can't be asked to let go of anything")

func (s *sandboxOf) frozen() (is bool, err error) {
	in, err := s.d.cgroups.Load(s.cgroup())
	if err == nil {
		is, err = in.Frozen()
	}
	if errors.Is(err, cgroup.ErrNotFound) {
		err = observed.ErrGone
	}
	return is, err
}

func (s *sandboxOf) cgroup() string { return path.Join(s.claim.CgroupParent, s.name) }

// askTime is how long a sentry may take to stop its tasks, or to let go of files.
const askTime = 2 * time.Second

// take takes from a sandbox what it has open and is covered by now. Its tasks are
// stopped meanwhile: they open one file by way of another.
func (s *sandboxOf) take(ctx context.Context, runs *shelf.Sandbox) error {
	now, err := s.own.Again()
	if err != nil {
		return err
	}
	if now.Text() != s.own.Text() {
		return errors.New("it was moved meanwhile")
	}
	if err := runs.Covered(now); err != nil {
		return err
	}
	if closed, err := runs.Closed(); err != nil || closed {
		return err
	}
	sockets, err := gvisor.Sockets(filepath.Join(s.claim.StateDir, "sandboxes", s.name))
	if err != nil {
		return err
	}
	if len(sockets) != 1 {
		return fmt.Errorf("its sentry can't be asked: there are %d sockets of it", len(sockets))
	}
	if frozen, err := s.frozen(); err != nil || frozen {
		return cmp.Or(err, errFrozen)
	}
	control := gvisor.Sentry{Socket: sockets[0], Timeout: askTime}
	err = control.Hold(ctx)
	for began := time.Now(); errors.Is(err, gvisor.ErrHeld) && time.Since(began) < askTime; time.Sleep(askTime / 100) {
		if closed, err := runs.Closed(); err != nil || closed {
			return err // by the other daemon
		}
		err = control.Hold(ctx)
	}
	switch {
	case errors.Is(err, gvisor.ErrNotThere):
		return s.takeHeld(ctx, runs, nil) // its tasks run: nothing is noted
	case errors.Is(err, gvisor.ErrHeld):
		return err
	case err == nil:
		err = s.takeHeld(ctx, runs, &control)
	}
	// Who did not answer may have stopped them, or may yet.
	if err := errors.Join(err, control.Go(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return runs.SetClosed()
}

// takeHeld takes what is held, by a sentry that can be told, and by what else has it,
// whose end is noticed by the sandbox's daemon. A sentry of an earlier version can't be.
func (s *sandboxOf) takeHeld(ctx context.Context, runs *shelf.Sandbox, control *gvisor.Sentry) error {
	held, err := runs.Held(s.all)
	if err != nil || len(held) == 0 {
		return err
	}
	var take []shelf.Held
	mapped := false
	for _, h := range held {
		switch {
		case h.Descriptor < 0:
			mapped = true
		case h.InSentry:
			take = append(take, h)
		default:
			if err := h.Process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, observed.ErrGone) {
				return err
			}
			ended, cancel := context.WithTimeout(ctx, askTime)
			err := h.Process.Await(ended)
			cancel()
			if err != nil {
				return fmt.Errorf("process %d has it open: waiting for its end: %w", h.Process.PID, err)
			}
		}
	}
	if control != nil {
		if err := takeOpen(ctx, runs, control, take, mapped); err != nil {
			return err
		}
	}
	if held, err = runs.Held(s.all); err != nil || len(held) == 0 {
		return err
	}
	return &heldError{held, control == nil}
}

// takeOpen has a sentry let go of descriptors and, with mapped, of what is mapped: that
// first, as long as what has to be written back can be.
func takeOpen(ctx context.Context, runs *shelf.Sandbox, control *gvisor.Sentry, take []shelf.Held, mapped bool) error {
	for mapped || len(take) > 0 {
		var like shelf.Held
		if !mapped {
			like = take[0]
		}
		var open []sentry.Descriptor
		take = slices.DeleteFunc(take, func(h shelf.Held) bool {
			if !h.Alike(like) {
				return false
			}
			open = append(open, sentry.Descriptor{Number: h.Descriptor, Dev: h.Dev, Inode: h.Inode})
			return true
		})
		instead, dir, file, err := runs.Instead(like)
		if err != nil {
			return err
		}
		err = control.Take(ctx, open, mapped, instead, dir, file)
		instead.Close()
		if err != nil {
			return err
		}
		mapped = false
	}
	return nil
}

// heldError is of what a sandbox does not let go of.
type heldError struct {
	held    []shelf.Held
	earlier bool // its sentry is an earlier version's
}

func (e *heldError) Error() string {
	if e.earlier {
		return e.held[0].String() + ", and was made by a version that can't be told to let go of it"
	}
	return e.held[0].String() + ", and does not let go of it"
}

// of are the things that it is of, among those that the sandbox shows.
func (e *heldError) of(all []shelf.Thing) (things []shelf.Thing) {
	for _, h := range e.held {
		if h.Thing == (shelf.Thing{}) {
			return all // nobody can tell
		}
		things = append(things, h.Thing)
	}
	return things
}
