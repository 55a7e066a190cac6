package actuator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/gofer"
	"sandboxer/gofer/serve"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

// A container whose record is lost, and all copies of it, is made known again from
// what it has in its sandbox: its gofer and its keeper are in the sandbox's cgroup,
// its trees on the shelf. Its gofer's journal has a note of the record. Where that
// can't be used (an earlier version's gofer has none), the container is taken to be
// as it is declared.

// saveRunning writes the record of a container that runs, and a note of it. The
// caller holds the lock.
func (a *Actuator) saveRunning(rec observed.ContainerRecord) error {
	if err := a.c.Records.SaveContainer(rec); err != nil {
		return err
	}
	if kept, ok := a.gofers[rec.ID]; ok {
		a.note(kept, rec)
	}
	return nil
}

// note notes a record, as a daemon does also of what it takes over: an earlier
// version notes nothing. What can't be noted is no worse than it was.
func (a *Actuator) note(kept gofer.Kept, rec observed.ContainerRecord) {
	if note, err := a.c.Records.Note(rec); err == nil {
		_ = kept.Note(note)
	}
}

// instance is what was found of one that no record tells of.
type instance struct {
	id, name      string
	attempt       int // 0: of volumes
	gofer, keeper observed.Process
}

// explained says whether there is a record of the container.
func (i instance) explained(loaded observed.Loaded) bool {
	return slices.ContainsFunc(slices.Concat(loaded.Containers, loaded.Servers), func(c observed.ContainerRecord) bool { return c.Name == i.name && c.ID != "" })
}

// rebuildContainers makes the records of a sandbox's containers, and of its
// volumes' gofers, that have none and are in the sandbox. It is an error where
// nothing is found of the container that is named.
func (a *Actuator) rebuildContainers(sandbox, named string) error {
	loaded, err := a.c.Records.Load(sandbox)
	if err != nil || loaded.Record == nil {
		return err
	}
	found, err := a.unexplained(*loaded.Record, loaded)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(found)) { // those of volumes first
		errs = append(errs, a.rebuildContainer(*loaded.Record, found[name]))
	}
	if _, ok := found[named]; named != "" && !ok {
		errs = append(errs, fmt.Errorf("nothing of container %q is in its sandbox", named))
	}
	return errors.Join(errs...)
}

// unexplained are the last instances, by container, of those that are in a sandbox
// and have no record.
func (a *Actuator) unexplained(rec observed.Record, loaded observed.Loaded) (map[string]instance, error) {
	ids, err := shelf.IDs(rec.Sentry)
	if err != nil {
		return nil, err
	}
	members, err := a.members(rec.Cgroup)
	if err != nil {
		return nil, err
	}
	all := map[string]instance{}
	for _, id := range ids {
		all[id] = instance{id: id}
	}
	for _, p := range members {
		args, err := commandLine(p)
		if errors.Is(err, observed.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		id, keeper := gofer.IDOf(args)
		if id == "" {
			continue
		}
		i := all[id]
		i.id = id
		if keeper {
			i.keeper = p
		} else {
			i.gofer = p
		}
		all[id] = i
	}
	found := map[string]instance{}
	for _, i := range all {
		var ok bool
		if i.name, i.attempt, ok = observed.InstanceOf(rec.Name, i.id); !ok {
			continue
		}
		if i.attempt == 0 && i.gofer.PID == 0 && i.keeper.PID == 0 {
			continue // a daemon was killed before it had handed it over
		}
		if last, ok := found[i.name]; !i.explained(loaded) && (!ok || last.attempt < i.attempt) {
			found[i.name] = i
		}
	}
	return found, nil
}

// rebuildContainer makes the record of an instance. If it has ended its sentry knows
// how, and says so to who waits for it.
func (a *Actuator) rebuildContainer(sandbox observed.Record, i instance) error {
	rec, known, err := a.saveKnown(i.id)
	if err != nil {
		return err
	}
	if !known {
		// Its end may have been recorded since it was looked for.
		loaded, err := a.c.Records.Load(sandbox.Name)
		if err != nil || i.explained(loaded) {
			return err
		}
		if rec, err = a.recordOf(sandbox, i); err != nil {
			return fmt.Errorf("making the record of %s: %w", i.id, err)
		}
		if err := a.c.Records.SaveContainer(rec); err != nil {
			return err
		}
	}
	if rec.IsServer() {
		return a.adoptServer(rec)
	}
	err = a.c.Logs.Adopt(rec.Sandbox, rec.Name, rec.ID)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	sentry := gvisor.Sentry{Process: sandbox.Sentry, Socket: sandbox.ControlSocket, Timeout: callTimeout}
	return errors.Join(err, a.attend(sentry, rec))
}

// saveKnown writes the record of an instance that this daemon knows: under the lock, or
// what comes to it meanwhile, or its end, would be undone.
func (a *Actuator) saveKnown(id string) (rec observed.ContainerRecord, known bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiters[id]
	if w == nil {
		return rec, false, nil
	}
	return w.rec, true, a.c.Records.SaveContainer(w.rec)
}

// recordOf is what was noted of an instance that this daemon does not know, or what is
// declared.
func (a *Actuator) recordOf(sandbox observed.Record, i instance) (rec observed.ContainerRecord, err error) {
	var kept gofer.Kept
	for _, p := range []observed.Process{i.keeper, i.gofer} {
		if p.PID == 0 || len(kept.Journals) > 0 {
			continue
		}
		if kept, err = gofer.Find(p); err != nil && !errors.Is(err, observed.ErrGone) {
			return rec, err
		}
	}
	defer kept.Close()
	if len(kept.Journals) > 0 {
		note, err := kept.Noted()
		if err != nil {
			return rec, err
		}
		if rec, err = a.c.Records.FromNote(note, sandbox.Name, i.name, a.unsignedNotes); err == nil && rec.ID == i.id {
			return i.complete(rec, sandbox), nil
		}
	}
	rec, err = a.declaredRecord(sandbox, i, kept)
	return i.complete(rec, sandbox), err
}

// complete has a record tell of the processes that were found. A gofer that is gone,
// and of which nobody knows which it was, is one that can't be.
func (i instance) complete(rec observed.ContainerRecord, sandbox observed.Record) observed.ContainerRecord {
	if i.gofer.PID != 0 {
		rec.Gofer = i.gofer
	} else if rec.Gofer.PID == 0 && i.keeper.PID != 0 {
		rec.Gofer = observed.Process{PID: sandbox.Sentry.PID}
	}
	if i.keeper.PID != 0 {
		rec.Keeper = i.keeper
	}
	return rec
}

// declaredRecord is that of an instance that was started as it is declared now. By
// what keys a sandbox knows its volumes nobody can tell: who is started next gets
// them anew.
func (a *Actuator) declaredRecord(sandbox observed.Record, i instance, kept gofer.Kept) (rec observed.ContainerRecord, err error) {
	rec = observed.ContainerRecord{Sandbox: sandbox.Name, Name: i.name, ID: i.id, Attempt: i.attempt, State: observed.Running}
	d, c := a.acceptedOf(rec)
	if c != nil {
		if err := a.declare(&rec, sandbox.Sentry, d, c); err != nil {
			return rec, err
		}
	}
	if len(kept.Journals) == 0 {
		return rec, nil
	}
	r := replacement{Ends: make([]uint64, len(kept.Journals))}
	if r.Mounts, err = a.mountsOn(sandbox.Sentry, i.id, len(kept.Journals), d); err != nil {
		return rec, err
	}
	r.Mounts = kept.Number(r.Mounts)
	if d != nil {
		if r.Grants, err = a.declaredGrants(d); err != nil {
			return rec, err
		}
	}
	rec.GoferState, err = json.Marshal(r)
	return rec, err
}

// declare has a record be of what is declared of a container.
func (a *Actuator) declare(rec *observed.ContainerRecord, sentry observed.Process, d *desired.Sandbox, c *desired.Container) error {
	rec.Hash, rec.Fields = c.Hash(), c.Fields()
	if c.PIDFile != "" {
		rec.PIDFile = observed.PIDFile{Path: c.PIDFile, PID: sentry.PID}
		rec.PIDFile.Seal = a.pidFileSeal(rec)
	}
	rec.Terminal, rec.Stdin = c.Terminal && c.ConsoleSocket == "", c.Stdin
	b, err := a.bundle(d, c)
	if err != nil {
		return nil // what further commands in it get is not known, then, and neither are its hooks
	}
	defer b.close()
	rec.HookPhase = afterStart(b.hooks)
	if err := a.setHooks(rec, b.hooks); err != nil {
		return err
	}
	rec.Process, err = furtherProcess(b.spec.Process, c)
	return err
}

// mountsOn are the mounts that a container has of so many trees.
func (a *Actuator) mountsOn(sentry observed.Process, id string, trees int, d *desired.Sandbox) (mounts []serve.Mount, err error) {
	readOnly, err := shelf.ReadOnly(sentry, id)
	if err != nil {
		return nil, err
	}
	root, err := shelf.Open(sentry, id)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for n := range trees {
		m := serve.Mount{Source: fmt.Sprintf("%s/%d", root.Name(), n), ReadOnly: readOnly[n]}
		var is unix.Statx_t
		err := unix.Statx(int(root.Fd()), strconv.Itoa(n), unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &is)
		if err != nil {
			return nil, &os.PathError{Op: "stat", Path: m.Source, Err: err}
		}
		m.Sockets = d != nil && a.letsSockets(d, unix.Mkdev(is.Dev_major, is.Dev_minor), is.Ino)
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// letsSockets says whether an object is declared as a volume with sockets.
func (a *Actuator) letsSockets(d *desired.Sandbox, device, inode uint64) bool {
	paths := a.wherever()
	return slices.ContainsFunc(d.Spec.Volumes, func(v desired.Volume) bool {
		if v.HostPath == nil || !v.HostPath.Sockets {
			return false
		}
		f, err := paths.Open(v.HostPath.Path)
		if err != nil {
			return false
		}
		defer f.Close()
		var is unix.Stat_t
		return unix.Fstat(int(f.Fd()), &is) == nil && is.Dev == device && is.Ino == inode
	})
}

// commandLine is how a process was started. ErrGone where it has ended.
func commandLine(p observed.Process) ([]string, error) {
	dir, err := p.OpenDir()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/cmdline", dir.Fd()))
	if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return nil, observed.ErrGone
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), err
}
