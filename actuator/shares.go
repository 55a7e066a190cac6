package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/gofer"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// Volumes are served by gofers of the sandbox, which outlive every container,
// and each is one file system inside for all that mount it. What one container
// needs first has one gofer together; its record is like a container's, see
// observed.Server. A volume whose source is another file or directory by the
// time that a container is started is served anew for that one, as a Pod's
// container sees what is there when it is started.

// share is a volume that is served in this way: one per mount of its gofer's.
type share struct {
	// Key is by what the sandbox knows it.
	Key string `json:"key"`
	// Volume is its name in the manifest.
	Volume string `json:"volume"`
	object
}

// object is what is served: two volumes of it are one.
type object struct {
	Source   string `json:"source"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	Sockets  bool   `json:"sockets,omitempty"`
	Device   uint64 `json:"device"`
	Inode    uint64 `json:"inode"`
}

// written is the same where it can be written.
func (o object) written() object {
	o.ReadOnly = false
	return o
}

func objectOf(m served) (object, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(m.tree.File.Fd()), &st); err != nil {
		return object{}, &os.PathError{Op: "stat", Path: m.Source, Err: err}
	}
	return object{m.Source, m.ReadOnly, m.Sockets, st.Dev, st.Ino}, nil
}

// sharesOf are what gofers of volumes serve.
func sharesOf(servers []observed.ContainerRecord) (shares []share, err error) {
	for _, server := range servers {
		if server.GoferState == nil {
			continue // of a record that was rebuilt
		}
		var r replacement
		if err := json.Unmarshal(server.GoferState, &r); err != nil {
			return nil, fmt.Errorf("what %s serves can't be read from its record: %w", server.ID, err)
		}
		shares = append(shares, r.Shares...)
	}
	return shares, nil
}

// mountVolumes gives a container's specification its volumes, which are served
// before that where they are not yet.
func (a *Actuator) mountVolumes(ctx context.Context, w *work, sentry gvisor.Sentry, b *bundle) error {
	if len(b.volumes) == 0 {
		return nil
	}
	if w.private {
		b.mountPrivately()
		return nil
	}
	// Containers of one sandbox are started side by side.
	sharing := a.sharingIn(w.Sandbox)
	sharing.Lock()
	defer sharing.Unlock()
	loaded, err := a.c.Records.Load(w.Sandbox)
	if err != nil {
		return err
	}
	if w.servers, err = a.toldOf(ctx, w.rec.Sentry, sentry, loaded.Servers); err != nil {
		return err
	}
	known, err := sharesOf(w.servers)
	if err != nil {
		return err
	}
	keys := map[object]string{}
	for _, s := range known {
		keys[s.object] = s.Key
	}
	var objects []object
	var shares []share
	var mounts []served
	for i := range b.volumes {
		v := &b.volumes[i]
		if slices.Contains(w.rec.Written, v.name) { // also where nobody does for now
			v.served.ReadOnly, v.served.tree.ReadOnly = false, false
		}
		o, err := objectOf(v.served)
		if err != nil {
			return fmt.Errorf("volume %q: %w", v.name, err)
		}
		if o.ReadOnly && keys[o.written()] != "" {
			o = o.written() // a container that wrote it has gone
		}
		objects = append(objects, o)
		if keys[o] == "" {
			keys[o] = v.name + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
			shares, mounts = append(shares, share{keys[o], v.name, o}), append(mounts, v.served)
		}
	}
	if len(shares) > 0 {
		err := a.serveShares(ctx, w, shares, mounts, func(sockets []*os.File) error {
			for i, s := range shares {
				if err := sentry.Share(ctx, s.Key, sockets[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, gvisor.ErrNotThere) {
			b.mountPrivately()
			return nil
		}
		if err != nil {
			return err
		}
	}
	for i, v := range b.volumes {
		b.spec.Mounts = append(b.spec.Mounts, gvisor.ShareMount(keys[objects[i]], v.mount.Destination, v.readOnly))
	}
	return nil
}

// toldOf are the gofers of volumes of which the sandbox was told. A daemon that died
// before it did so has left one that has no keeper yet; a container whose volume is
// not known has none.
func (a *Actuator) toldOf(ctx context.Context, ns observed.Process, sentry gvisor.Sentry, servers []observed.ContainerRecord) (told []observed.ContainerRecord, err error) {
	for _, s := range servers {
		err := error(nil)
		if s.Keeper.PID == 0 {
			err = a.shareAgain(ctx, sentry, []observed.ContainerRecord{s}) // which it refuses where it knows nothing of it
		}
		switch {
		case err == nil:
			told = append(told, s)
			continue
		case isPassing(err):
			return nil, err
		}
		if err := errors.Join(a.forgetServers([]observed.ContainerRecord{s}), shelf.Remove(ns, s.ID)); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// sharingIn orders what makes a sandbox's volumes known to it.
func (a *Actuator) sharingIn(sandbox string) *sync.Mutex {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sharing[sandbox] == nil {
		a.sharing[sandbox] = &sync.Mutex{}
	}
	return a.sharing[sandbox]
}

// mountPrivately has the container's own gofer serve its volumes, as in
// sandboxes that an earlier version has made.
func (b *bundle) mountPrivately() {
	for _, v := range b.volumes {
		m := v.served
		m.ReadOnly, m.tree.ReadOnly = v.readOnly, v.readOnly
		v.mount.Options = append(slices.Clip(v.mount.Options), uncached)
		b.spec.Mounts, b.mounts = append(b.spec.Mounts, v.mount), append(b.mounts, m)
	}
}

// serveShares starts a gofer that serves volumes and hands its sockets over. It
// is on record before that, and has a keeper afterwards.
func (a *Actuator) serveShares(ctx context.Context, w *work, shares []share, mounts []served, handOver func([]*os.File) error) error {
	g, err := gofer.Open(len(mounts))
	if err != nil {
		return err
	}
	rec, err := a.startServer(ctx, w, g, shares, mounts)
	if err != nil {
		g.Close()
		return err
	}
	end, err := whileGoferLives(ctx, g, func(context.Context) error { return handOver(g.Sockets) })
	if err != nil {
		g.Close()
		return errors.Join(err, a.forgetServers([]observed.ContainerRecord{rec}), shelf.Remove(w.rec.Sentry, rec.ID))
	}
	return a.serverStarted(w, rec, g, end == goferLives)
}

// startServer has a gofer that is not started yet serve volumes, and writes its
// record.
func (a *Actuator) startServer(ctx context.Context, w *work, g *gofer.Gofer, shares []share, mounts []served) (observed.ContainerRecord, error) {
	name := observed.Server(int(time.Now().UnixNano()))
	rec := observed.ContainerRecord{Sandbox: w.Sandbox, Name: name, ID: w.Sandbox + "." + name, State: observed.Running, StartedAt: time.Now()}
	if err := a.startOpened(w.rec, rec, mounts, g); err != nil {
		return rec, err
	}
	if err := g.Ready(ctx); err != nil {
		return rec, errors.Join(err, shelf.Remove(w.rec.Sentry, rec.ID))
	}
	var err error
	if rec.GoferState, err = a.goferState(g, rec, shares, mounts); err == nil {
		rec.Gofer, rec.GoferSince, rec.GoferVersion = g.Process, time.Now(), a.c.Version
		a.note(g.Kept, rec)
		err = a.c.Records.SaveContainer(rec)
	}
	if err != nil {
		return rec, errors.Join(err, endProcess(g.Process), shelf.Remove(w.rec.Sentry, rec.ID))
	}
	return rec, nil
}

// serverStarted keeps what a gofer of volumes needs whose sockets the sandbox
// has.
func (a *Actuator) serverStarted(w *work, rec observed.ContainerRecord, g *gofer.Gofer, lives bool) error {
	closeAll(g.Sockets)
	if lives {
		a.hold(rec.ID, g.Kept)
	}
	w.servers = append(w.servers, rec)
	if err := a.watchServer(rec); err != nil {
		return err
	}
	k, err := a.startKeeper(w.rec.Cgroup, rec)
	if errors.Is(err, plan.ErrGoferLost) {
		return nil // it died, and the loop sees that
	}
	if err != nil {
		return err
	}
	defer k.Close()
	rec.Keeper = k.Process
	if err := a.update(rec); err != nil {
		return err
	}
	return k.Stay()
}

// watchServer has the loop poked when a gofer of volumes, or its keeper, ends.
func (a *Actuator) watchServer(rec observed.ContainerRecord) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.waiters[rec.ID]; !ok {
		a.waiters[rec.ID] = &waiter{cancel: func() {}, rec: rec}
	}
	return a.watchHelpers(rec)
}

// adoptServer takes over what a gofer of volumes may leave.
func (a *Actuator) adoptServer(rec observed.ContainerRecord) error {
	kept, err := a.kept(rec)
	if errors.Is(err, plan.ErrGoferLost) {
		err = nil // what is lost is dealt with when it is needed
	} else if err == nil {
		a.note(kept, rec)
	}
	return errors.Join(err, a.grant(rec), a.watchServer(rec))
}

// forgetServers ends all that serves a sandbox's volumes.
func (a *Actuator) forgetServers(servers []observed.ContainerRecord) error {
	var errs []error
	for _, rec := range servers {
		a.unwatch(rec)
		a.release(rec.ID)
		errs = append(errs, endHelpers(rec), a.c.Records.DeleteContainer(rec.Sandbox, rec.Name))
	}
	return errors.Join(errs...)
}

// restoring are the volumes of a sandbox that is being restored: opened before
// its sentry is there, and served once that is.
type restoring struct {
	shares []share
	mounts []served
	gofer  *gofer.Gofer
	rec    observed.ContainerRecord
	// handedOver: what the gofer needs is kept with the sandbox's.
	handedOver bool
}

// openShares opens the volumes that a checkpoint's containers share, by the keys
// that they know them by. It is to be closed.
func (a *Actuator) openShares(d *desired.Sandbox, from *source) (r restoring, err error) {
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if from == nil {
		return r, nil
	}
	for _, s := range from.Shares {
		v := volume(d, s.Volume)
		if v == nil {
			return r, fmt.Errorf("%w: volume %q is not declared any more", plan.ErrChanged, s.Volume)
		}
		m, err := a.serveVolume(a.paths(), d, v, s.ReadOnly)
		if err != nil {
			return r, fmt.Errorf("volume %q: %w", v.Name, err)
		}
		r.mounts = append(r.mounts, m)
		o, err := objectOf(m)
		if err != nil {
			return r, fmt.Errorf("volume %q: %w", v.Name, err)
		}
		r.shares = append(r.shares, share{s.Key, s.Volume, o})
	}
	if len(r.shares) > 0 {
		r.gofer, err = gofer.Open(len(r.mounts))
	}
	return r, err
}

func (r *restoring) close() {
	closeServed(r.mounts)
	if r.gofer != nil && !r.handedOver {
		r.gofer.Close()
	}
}

// sockets are the sentry's ends.
func (r *restoring) sockets() []*os.File {
	if r.gofer == nil {
		return nil
	}
	return r.gofer.Sockets
}

func (r *restoring) keys() (keys []string) {
	for _, s := range r.shares {
		keys = append(keys, s.Key)
	}
	return keys
}

// shareAgain makes known to a sandbox that was restored what volumes it has. It is an
// error where it has one of them not.
func (a *Actuator) shareAgain(ctx context.Context, sentry gvisor.Sentry, servers []observed.ContainerRecord) error {
	shares, err := sharesOf(servers)
	if err != nil {
		return err
	}
	// A socket at whose other end nobody is, since a sandbox that does not know the
	// volume talks to it.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	unix.Close(pair[1])
	nobody := os.NewFile(uintptr(pair[0]), "nobody")
	defer nobody.Close()
	for _, s := range shares {
		if err := sentry.Share(ctx, s.Key, nobody); err != nil {
			return err
		}
	}
	return nil
}

// restoredMounts are a container's mounts of volumes in a sandbox that is being
// restored: it has them in the checkpoint, and they only have to be named.
func (b *bundle) restoredMounts() (mounts []specs.Mount) {
	for _, v := range b.volumes {
		mounts = append(mounts, gvisor.ShareMount("", v.mount.Destination, v.readOnly))
	}
	return mounts
}
