package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/claims"
	"sandboxer/internal/events"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

// socketThing is what the API's socket is called.
const socketThing = "the API's socket"

// things are this daemon's own: no container may reach them. check says why a path can't
// be looked at without waiting for ever.
func (d *daemon) things(check func(path string) error) ([]shelf.Thing, error) {
	hidden := func(what, path string) shelf.Thing { return shelf.Thing{What: what, Path: path, Hidden: true} }
	things := []shelf.Thing{
		hidden("the state directory", d.c.StateDir),
		hidden("the data directory", d.c.DataDir),
		hidden("the directory of daemons' claims", claims.Dir),
	}
	for _, dir := range d.c.Own {
		things = append(things, hidden("the directory", dir))
	}
	for _, dir := range d.c.Manifests {
		things = append(things, hidden("the manifests' directory", dir))
	}
	things = append(things, hidden(socketThing, d.c.Socket))
	if d.c.ConfigFile != "" {
		things = append(things, shelf.Thing{What: "the configuration file", Path: d.c.ConfigFile, Hidden: true, Replaced: true, Empty: true})
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	things = append(things, shelf.Thing{What: "the program", Path: exe, Replaced: true})
	for i := range things {
		if things[i].Path, err = filepath.Abs(things[i].Path); err != nil {
			return nil, err
		}
	}
	inside, err := d.c.inside(check)
	return append(things, inside...), err
}

// things of a daemon's own are found anew while it runs.
type things struct {
	mu   sync.Mutex
	list []shelf.Thing
}

// all may be changed by nobody.
func (t *things) all() []shelf.Thing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list
}

func (t *things) set(list []shelf.Thing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = list
}

// guard is what containers must not reach, other daemons' own included.
func (d *daemon) guard(ctx context.Context, checker *answers.Checker) (shelf.Guard, error) {
	return d.guardOf(ctx, checker, d.own.all(), func(*claims.Claim) bool { return true })
}

// guardOf is that of some things of its own, and of those of others whose claims count. On
// a host with many of them, and little time, that takes a while, in which ctx may end.
func (d *daemon) guardOf(ctx context.Context, checker *answers.Checker, own []shelf.Thing, counts func(*claims.Claim) bool) (shelf.Guard, error) {
	scan := checker.Scan(scanPatience)
	check := func(path string, linkFree bool) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return scan(path, linkFree)
	}
	others, err := d.others(ctx, onlyPath(check), counts)
	things := slices.Concat(own, others)
	for i := range things {
		if silent, ok := errors.AsType[*answers.Silent](check(things[i].Path, false)); ok {
			things[i].Silent = silent.Mount
		}
	}
	return shelf.Guard{Things: things, Kernel: d.c.AllowKernelFileSystems, Answers: checker.Check}, err
}

// others are what other daemons of the host have for themselves.
func (d *daemon) others(ctx context.Context, check func(path string) error, counts func(*claims.Claim) bool) (things []shelf.Thing, err error) {
	daemons, err := claims.All(claims.Host{Answers: check, Cgroups: d.cgroups})
	if err != nil {
		return nil, err
	}
	for _, c := range daemons {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.StateDir == d.c.StateDir || !counts(&c) {
			continue
		}
		for _, t := range c.Things {
			t.What += " of another daemon,"
			if check(t.Path) == nil {
				why := lost(&t)
				if why != nil && d.lost.tell(t.Path, why) {
					d.c.Log.Error(why, "what another daemon has for itself can't be looked at, nor be covered in containers: mend its file system, or unmount that; if that daemon is gone for good, remove its claim",
						"what", t.What, "path", t.Path, "daemon", c.StateDir, "claim", claims.File(c.StateDir))
				}
				if why != nil && t.Silent == "" {
					continue
				}
			}
			things = append(things, t)
		}
	}
	return things, nil
}

// lost says why something can't be looked at that is there, by whomever: its file system
// answers, and fails. Where all of that does it is Silent as one that does not answer.
func lost(t *shelf.Thing) error {
	f, err := hostpath.Resolver{Link: hostpath.AnyLink}.Open(t.Path)
	if err == nil {
		defer f.Close()
		var st unix.Stat_t
		if err = unix.Fstat(int(f.Fd()), &st); err == nil {
			return nil
		}
		err = &fs.PathError{Op: "stat", Path: f.Real, Err: err}
	}
	for _, known := range []error{unix.ENOENT, unix.ENOTDIR, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, known) {
			return nil // that is for who covers
		}
	}
	failed, ok := errors.AsType[*fs.PathError](err)
	mounts, mountsErr := mountinfo.Read()
	if ok && mountsErr == nil && slices.ContainsFunc(mounts, func(m mountinfo.Mount) bool { return m.Point == failed.Path }) {
		t.Silent = failed.Path
	}
	return err
}

// told are errors that were told of.
type told struct {
	mu  sync.Mutex
	all map[string]string
}

// tell says whether an error of something is to be told of: it is another one than before.
func (t *told) tell(of string, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[of] == err.Error() {
		return false
	}
	if t.all == nil {
		t.all = map[string]string{}
	}
	t.all[of] = err.Error()
	return true
}

// keepGuard has what containers that run must not reach by now covered: what
// was not there when they were started, or is another daemon's since.
// Where the kernel has no more watches to give, the resync is enough.
func (d *daemon) keepGuard(ctx context.Context) error {
	var events <-chan fsnotify.Event
	var faults <-chan error
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer w.Close()
		events, faults = w.Events, w.Errors
		err = w.Add(claims.Dir)
	}
	if err != nil {
		d.c.Log.Error(err, "other daemons' own is kept from containers at the resync only")
	}
	again := time.NewTicker(d.c.Resync)
	defer again.Stop()
	for {
		if err := d.lookAround(); err != nil {
			d.c.Log.Error(err, "what root has mounted or linked in this daemon's directories can't be told")
		}
		if err := claims.Keep(d.claim()); err != nil {
			d.c.Log.Error(err, "other daemons may not know what is this one's")
		}
		if err := d.written.Keep(); err != nil {
			d.c.Log.Error(err, "other daemons may not know where this one's sandboxes can write")
		}
		if w != nil { // whoever has removed the directory has ended the watch, too
			if err := w.Add(claims.Dir); err != nil {
				d.c.Log.V(1).Info("other daemons are not watched", "error", err.Error())
			}
		}
		d.coverLater(ctx)
		var soon <-chan time.Time
		if d.takeBackAbandoned(ctx) {
			soon = time.After(startingTime)
		}
		for waits := true; waits; {
			waits = false
			select {
			case <-soon:
			case e := <-events:
				waits = strings.HasPrefix(filepath.Base(e.Name), ".") // it is no claim yet
				if !waits {
					settle(ctx, events)
				}
			case err := <-faults:
				d.c.Log.V(1).Info("watching other daemons failed", "error", err.Error())
			case <-again.C:
			case <-d.moved:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// startingTime is how often it is looked whether a daemon that starts still lives.
const startingTime = time.Second

// lookAround finds out what else is this daemon's by now: root mounts and links in its
// directories while it runs. What does not answer may be there, and nothing that was this
// daemon's is given to containers.
func (d *daemon) lookAround() error {
	now, err := d.things(onlyPath(d.answers.Scan(scanPatience)))
	if err != nil {
		return err
	}
	was := d.own.all()
	all := slices.Clone(was)
	for _, t := range now {
		if !slices.Contains(was, t) {
			all = append(all, t)
		}
	}
	if len(all) == len(was) {
		return nil
	}
	d.own.set(all)
	return claims.Write(d.claim())
}

// watchMounts has it be looked again what is this daemon's once something was mounted.
func (d *daemon) watchMounts(ctx context.Context) error { return mountinfo.Watch(ctx, d.coverSoon) }

// coverSoon has keepGuard look again before the resync.
func (d *daemon) coverSoon() {
	select {
	case d.moved <- struct{}{}:
	default:
	}
}

// settle waits a moment for what follows on a claim: who starts writes several, and each
// has everything looked for.
func settle(ctx context.Context, events <-chan fsnotify.Event) {
	for moment := time.After(claimsTime); ; {
		select {
		case <-events:
		case <-moment:
			return
		case <-ctx.Done():
			return
		}
	}
}

// claimsTime is how long. Who claims has covered its own before it goes on; what is looked
// for here is what this daemon's own sandboxes show of it.
const claimsTime = 50 * time.Millisecond

// manifestsReach has what is in a manifests' directory that is another one by now be
// out of reach, and then looked at again.
func (d *daemon) manifestsReach() desired.Reach {
	kept := d.kept.all()
	check := onlyPath(d.answers.Scan(scanPatience))
	for _, dir := range d.c.Manifests {
		f, err := hostpath.Resolver{Link: hostpath.AnyLink, Answers: check}.Open(dir)
		if err != nil {
			continue // there is nothing to obey
		}
		mounts, err := mountinfo.Read()
		if err == nil {
			var where shelf.Place
			where, err = shelf.Locate(f.File, mounts)
			if err == nil && !slices.ContainsFunc(kept, func(k shelf.Kept) bool { return k.Place.Is(where) }) {
				d.coverSoon()
			}
		}
		f.Close()
	}
	return d.actuator.ManifestsReach(kept)
}

// coverLater covers what came since the daemon's own was kept.
func (d *daemon) coverLater(ctx context.Context) {
	left, err := d.cover(ctx, d.answers, false)
	for _, r := range left {
		if !r.forGood {
			err = errors.Join(err, r.why)
		}
	}
	if err != nil && ctx.Err() == nil { // else the next daemon does it
		d.c.Log.Error(err, "something may show in containers that is not theirs")
	}
}

// volumeEmptied makes an event of a volume of which a container sees nothing.
func (d *daemon) volumeEmptied(c observed.ContainerRecord, why string) {
	d.events.Append(events.Event{Sandbox: c.Sandbox, Container: c.Name, Type: events.Warning, Reason: "VolumeEmptied", Message: why})
}

// declared are the sandboxes that are to be.
func (s *source) declared() (all []*desired.Sandbox) {
	if set := s.directory.Set(); set != nil {
		for _, sandbox := range set.Sandboxes {
			all = append(all, sandbox)
		}
	}
	return all
}
