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
	rec, damage, err := readCached(r, name, sandboxRecord, Record.clone, func(data []byte, rec *Record) error { return r.decodeRecord(data, name, rec) })
	l.damaged(sandboxRecord, damage)
	unusable, broken := errors.AsType[*sealed.Damage](err)
	switch {
	case err == nil:
		l.Record = &rec
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
	entries, err := r.entries(sandbox)
	none := errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir)
	if err != nil && !none {
		return err
	}
	if none && r.gone(sandbox) {
		return nil
	}
	spare, err := r.spares.containers(sandbox)
	if err != nil {
		return err
	}
	for _, container := range spare {
		entries = append(slices.Clip(entries), container+".json") // those are the cache's
	}
	is := func(container string) bool {
		now, err := r.spares.containers(sandbox)
		return err == nil && slices.Contains(now, container)
	}
	seen := map[string]bool{} // a record, its copy and its spare are one
	for _, entry := range entries {
		file, ok := sealed.Of(entry)
		aside := false
		if !ok {
			file, aside = sealed.Aside(entry)
		}
		name, isRecord := strings.CutSuffix(file, ".json")
		if !ok && !aside || !isRecord || seen[name] || CheckName(name) != nil {
			continue
		}
		seen[name] = true
		rec, damage, err := readCached(r, sandbox, containerRecord(name), ContainerRecord.clone,
			func(data []byte, rec *ContainerRecord) error { return r.decodeContainer(data, sandbox, name, rec) })
		switch {
		case !errors.Is(err, fs.ErrNotExist):
		case aside: // who removes a record removes that first
			err = &sealed.Damage{Why: "it and its copy are missing, and an earlier one that was damaged is there"}
		case slices.Contains(spare, name) && is(name): // likewise
			err = &sealed.Damage{Why: "it, its copy and its spare are missing"}
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
	byName := func(a, b ContainerRecord) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(l.Containers, byName)
	slices.SortFunc(l.Servers, byName)
	return nil
}

// readCached reads a record, or takes what it was where nothing was done to it
// since. What a copy had to stand in for is read each time.
func readCached[T any](r *Records, sandbox, file string, clone func(T) T, decode func([]byte, *T) error) (T, *sealed.Damage, error) {
	path := filepath.Join(r.Dir(sandbox), file)
	rec, stamp, ok := get[T](r.cache, sandbox, path)
	if ok {
		return clone(rec), nil, nil
	}
	damage, err := r.read(sandbox, file, func(data []byte) error { return decode(data, &rec) })
	if err == nil && damage == nil {
		r.cache.put(sandbox, path, stamp, clone(rec))
	}
	return rec, damage, err
}

// entries are the names in the directory of containers' records, sorted.
func (r *Records) entries(sandbox string) ([]string, error) {
	dir := r.containerDir(sandbox)
	names, stamp, ok := get[[]string](r.cache, sandbox, dir)
	if ok {
		return slices.Clone(names), nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	r.cache.put(sandbox, dir, stamp, names)
	return names, nil
}

// gone says that a sandbox has no directory: then there is nothing that spares
// could stand in for.
func (r *Records) gone(sandbox string) bool {
	_, err := os.Lstat(r.Dir(sandbox))
	return errors.Is(err, fs.ErrNotExist)
}

// read reads a record, or its copy, or its spare; see sealed.Read.
func (r *Records) read(sandbox, file string, decode func([]byte) error) (stoodIn *sealed.Damage, err error) {
	for {
		before, _, generationErr := r.spares.generation(sandbox, file)
		stoodIn, err = sealed.Read(filepath.Join(r.Dir(sandbox), file), recordMax, decode)
		if stoodIn == nil && err == nil || generationErr != nil {
			break
		}
		// Who was overtaken by a writer has read what is not the last any more.
		if after, _, err := r.spares.generation(sandbox, file); err != nil || after == before {
			break
		}
	}
	damage, damaged := errors.AsType[*sealed.Damage](err)
	if !damaged && !errors.Is(err, fs.ErrNotExist) || r.gone(sandbox) {
		return stoodIn, err
	}
	if _, spareErr := sealed.Read(r.spares.path(sandbox, file), recordMax, decode); spareErr != nil {
		return nil, err
	}
	if !damaged {
		damage = &sealed.Damage{Why: "it and its copy are missing"}
	}
	return damage, nil
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
	var rec Record
	err := decode(data, &rec, func(rec *Record) string { return r.checkRecord(name, rec) })
	if err == nil {
		err = r.own(data, name, sandboxRecord, rec.Generation)
	}
	if err == nil {
		*into = rec
	}
	return err
}

func (r *Records) decodeContainer(data []byte, sandbox, name string, into *ContainerRecord) error {
	var rec ContainerRecord
	err := decode(data, &rec, func(rec *ContainerRecord) string { return r.checkContainer(sandbox, name, rec) })
	if err == nil {
		err = r.own(data, sandbox, containerRecord(name), rec.Generation)
	}
	if err == nil {
		*into = rec
	}
	return err
}

// own refuses a record that this daemon, or an earlier one with its key, did not
// write there, or not last.
func (r *Records) own(data []byte, sandbox, file string, generation uint64) error {
	if !sealed.Signed(r.key, sandbox+"/"+file, data) {
		if r.unsigned {
			return nil
		}
		return errors.New("it is not signed with this daemon's key: somebody else wrote it, or changed it")
	}
	last, known, err := r.spares.generation(sandbox, file)
	switch {
	case err != nil:
		return err
	case !known && !r.unknown && !r.spares.unnoted(sandbox, file, generation):
		return errors.New("it is signed, and nobody knows of it: it is of a sandbox that is gone")
	case generation < last:
		return errors.New("it is signed, and not the last one that was written there: somebody has put back an earlier one")
	}
	return nil
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
