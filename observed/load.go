package observed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/sealed"
)

// errNotDir is what a path through something that is no directory answers.
const errNotDir = unix.ENOTDIR

// recordMax is more than any record has, in bytes: a longer file is none.
const recordMax = 1 << 20

// Loaded is what Load found of one sandbox.
type Loaded struct {
	// Record is nil where there is none that can be used; Broken then says
	// why, and is empty where there is nothing at all.
	Record *Record
	Broken string
	// Containers are sorted by name.
	Containers []ContainerRecord
	// BrokenContainers says of each container, by name, why its record can't
	// be used; nil where all can.
	BrokenContainers map[string]string
	// Servers are the records of gofers of volumes; see Server. One that can't be
	// used has nothing but its name.
	Servers []ContainerRecord
	// Damaged says, by path in the sandbox's directory, what is wrong with
	// records in whose place their copies are believed; see Mend. Nil: nothing is.
	Damaged map[string]string
}

func (l *Loaded) damaged(file string, d *sealed.Damage) {
	if d == nil {
		return
	}
	if l.Damaged == nil {
		l.Damaged = map[string]string{}
	}
	l.Damaged[file] = d.Why
}

// Load reads all records of one sandbox. A file that is torn, of another
// format, another boot, or names another sandbox or container than its path
// does, or another's cgroup, is reported as broken and costs nothing else; where its copy is better,
// that is believed. An error means that a file could not be read, and that
// nobody knows what is in it.
func (r *Records) Load(name string) (Loaded, error) {
	if err := CheckName(name); err != nil {
		return Loaded{}, err
	}
	var l Loaded
	rec := &Record{}
	damage, err := sealed.Read(r.sandboxFile(name), recordMax, func(data []byte) error { return r.decodeRecord(data, name, rec) })
	l.damaged("sandbox.json", damage)
	unusable, broken := errors.AsType[*sealed.Damage](err)
	switch {
	case err == nil:
		l.Record = rec
	case broken:
		l.Broken = unusable.Why
	case errors.Is(err, fs.ErrNotExist):
		l.Broken, err = r.missing(name)
		fallthrough
	default:
		if err != nil {
			return Loaded{}, fmt.Errorf("reading the record of sandbox %q: %w", name, err)
		}
	}
	if err := r.loadContainers(name, &l); err != nil {
		return Loaded{}, fmt.Errorf("reading the records of sandbox %q: %w", name, err)
	}
	return l, nil
}

// missing tells a sandbox that isn't there from one whose directory was left
// behind by a crash and must still be cleaned up.
func (r *Records) missing(name string) (broken string, err error) {
	_, err = os.Lstat(r.Dir(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	}
	return "its directory has no sandbox.json", nil
}

func (r *Records) loadContainers(sandbox string, l *Loaded) error {
	entries, err := os.ReadDir(r.containerDir(sandbox))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return nil
	}
	if err != nil {
		return err
	}
	seen := map[string]bool{} // a record and its copy are one
	for _, e := range entries {
		file, ok := sealed.Of(e.Name())
		aside := false
		if !ok {
			file, aside = sealed.Aside(e.Name())
		}
		name, isRecord := strings.CutSuffix(file, ".json")
		if !ok && !aside || !isRecord || seen[name] || CheckName(name) != nil {
			continue
		}
		seen[name] = true
		var rec ContainerRecord
		damage, err := sealed.Read(r.containerFile(sandbox, name), recordMax,
			func(data []byte) error { return r.decodeContainer(data, sandbox, name, &rec) })
		if aside && errors.Is(err, fs.ErrNotExist) { // who removes a record removes that first
			err = &sealed.Damage{Why: "it and its copy are missing, and an earlier one that was damaged is there"}
		}
		l.damaged(filepath.Join("containers", file), damage)
		unusable, broken := errors.AsType[*sealed.Damage](err)
		switch {
		case err == nil && rec.IsServer():
			l.Servers = append(l.Servers, rec)
		case err == nil:
			l.Containers = append(l.Containers, rec)
		case broken && strings.HasPrefix(name, serverPrefix):
			l.Servers = append(l.Servers, ContainerRecord{Sandbox: sandbox, Name: name})
		case broken:
			if l.BrokenContainers == nil {
				l.BrokenContainers = map[string]string{}
			}
			l.BrokenContainers[name] = unusable.Why
		case !errors.Is(err, fs.ErrNotExist): // else removed since the directory was read
			return err
		}
	}
	slices.SortFunc(l.Containers, func(a, b ContainerRecord) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// decode fills into with a record that check has nothing against.
func decode[T any](data []byte, into *T, check func(*T) string) error {
	var rec T
	if err := json.Unmarshal(data, &rec); err != nil {
		return fmt.Errorf("it can't be decoded: %w", err)
	}
	if broken := check(&rec); broken != "" {
		return errors.New(broken)
	}
	*into = rec
	return nil
}

func (r *Records) decodeRecord(data []byte, name string, into *Record) error {
	return decode(data, into, func(rec *Record) string { return r.checkRecord(name, rec) })
}

func (r *Records) decodeContainer(data []byte, sandbox, name string, into *ContainerRecord) error {
	return decode(data, into, func(rec *ContainerRecord) string { return r.checkContainer(sandbox, name, rec) })
}

func (r *Records) checkRecord(name string, rec *Record) string {
	if broken := r.checkOrigin(rec.Version, rec.BootID); broken != "" {
		return broken
	}
	switch rec.State {
	case SandboxCreating, SandboxUp, SandboxPausing, SandboxPaused, SandboxResuming, SandboxSaving, SandboxRestoring,
		SandboxStopping, SandboxStopped:
	default:
		return fmt.Sprintf("it has no state called %q", rec.State)
	}
	if rec.Name != name {
		return fmt.Sprintf("it is of sandbox %q", rec.Name)
	}
	// All in there is killed some day. The parent may have been another one.
	if cg := rec.Cgroup; cg != "" && (!path.IsAbs(cg) || path.Clean(cg) != cg || path.Base(cg) != name) {
		return fmt.Sprintf("its cgroup %q is not one of sandbox %q", cg, name)
	}
	return ""
}

func (r *Records) checkContainer(sandbox, name string, rec *ContainerRecord) string {
	if broken := r.checkOrigin(rec.Version, rec.BootID); broken != "" {
		return broken
	}
	switch rec.State {
	case Creating, Created, Running, Paused, Stopped:
	default:
		return fmt.Sprintf("it has no state called %q", rec.State)
	}
	if rec.Sandbox != sandbox || rec.Name != name || !isInstance(rec) {
		return fmt.Sprintf("it is of container %q of sandbox %q, ID %q", rec.Name, rec.Sandbox, rec.ID)
	}
	return ""
}

// isInstance says whether a record's ID is one of its container's: what is known
// by another's would be taken for its own.
func isInstance(rec *ContainerRecord) bool {
	attempt, ok := strings.CutPrefix(rec.ID, rec.Sandbox+"."+rec.Name)
	if rec.IsServer() {
		return ok && attempt == ""
	}
	number, numbered := strings.CutPrefix(attempt, ".")
	_, err := strconv.ParseUint(number, 10, 63)
	return ok && numbered && err == nil
}

func (r *Records) checkOrigin(version int, bootID string) string {
	if version != RecordVersion {
		return fmt.Sprintf("it has format %d, not %d", version, RecordVersion)
	}
	if bootID != r.bootID {
		return fmt.Sprintf("it was written in another boot of the host (%s)", bootID)
	}
	return ""
}
