package observed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sandboxer/internal/sealed"
)

// Records are the files STATE/sandboxes/NAME/sandbox.json and
// STATE/sandboxes/NAME/containers/CONTAINER.json. Each is replaced as a whole,
// so that a reader sees the old one or the new one, and has a checksum and a
// copy (see package sealed), a signature, and a spare out of the reach of who might
// write there; a crash may leave a hidden temporary file, which
// counts for nothing and goes with Delete. Writers of one sandbox's records are
// for the caller to order.
type Records struct {
	dir    string // STATE/sandboxes
	bootID string
	cache  *cache
	key    []byte
	spares *spares
	// doubtful are believed that are not signed, or not known to be the last: for
	// Admit.
	unsigned, unknown bool
}

// RecordsConfig is what Records need; all of it.
type RecordsConfig struct {
	// StateDir need not exist yet.
	StateDir string
	// BootID is written into each record; those of another boot count as broken:
	// their processes are gone for sure and their pids mean nothing. See BootID.
	BootID string
	// Key is what records are signed with: one that is not counts as broken, so
	// that who can write records commands nobody by that.
	Key []byte
	// Spares is a directory where each record is kept once more, with which one is
	// the last; as the key, it must be out of reach of who might write records.
	Spares string
}

// NewRecords returns the records below a state directory.
func NewRecords(c RecordsConfig) (*Records, error) {
	if c.StateDir == "" || c.BootID == "" || len(c.Key) == 0 || c.Spares == "" {
		return nil, errors.New("records need a state directory, a boot id, a key and a directory of spares")
	}
	return &Records{dir: filepath.Join(c.StateDir, "sandboxes"), bootID: c.BootID, key: c.Key,
		cache: &cache{now: time.Now}, spares: newSpares(c.Spares)}, nil
}

// BootID returns what identifies this boot of the host.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// nameMax leaves room for what is put around a name in a file name of at most
// 255 bytes.
const nameMax = 200

// CheckName refuses, with ErrName, what can't be a sandbox's or container's
// name in a path: only ASCII letters, digits, '-', '_' and '.' are allowed,
// 1 to 200 of them, and no '.' at the start.
func CheckName(name string) error {
	if name == "" || len(name) > nameMax || name[0] == '.' {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("%w: %q", ErrName, name)
		}
	}
	return nil
}

// Dir is the directory of a sandbox's records. It exists from the first Save
// until Delete.
func (r *Records) Dir(name string) string { return filepath.Join(r.dir, name) }

func (r *Records) sandboxFile(name string) string {
	return filepath.Join(r.Dir(name), "sandbox.json")
}

// sandboxRecord and containerRecord are where records are in a sandbox's directory.
const sandboxRecord = "sandbox.json"

func containerRecord(container string) string { return filepath.Join("containers", container+".json") }

// containerOf is whose record it is; ok is false for a sandbox's.
func containerOf(file string) (container string, ok bool) {
	container, ok = strings.CutPrefix(file, "containers/")
	container, isRecord := strings.CutSuffix(container, ".json")
	return container, ok && isRecord
}

func (r *Records) containerDir(name string) string {
	return filepath.Join(r.Dir(name), "containers")
}

func (r *Records) containerFile(name, container string) string {
	return filepath.Join(r.containerDir(name), container+".json")
}

// List names the sandboxes that have a directory of records, sorted, whether
// or not what is in there can be used. Files that have no such name are
// nobody's and left out.
func (r *Records) List() ([]string, error) { return list(r.dir) }

// Names is List for another daemon's state directory.
func Names(stateDir string) ([]string, error) { return list(filepath.Join(stateDir, "sandboxes")) }

func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing records: %w", err)
	}
	var names []string
	for _, e := range entries {
		if CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Save replaces the record of the sandbox that it names. Version and BootID
// are filled in.
func (r *Records) Save(rec Record) error {
	if err := CheckName(rec.Name); err != nil {
		return err
	}
	rec.Version, rec.BootID = RecordVersion, r.bootID
	err := r.write(rec.Name, sandboxRecord, func(generation uint64) any { rec.Generation = generation; return rec })
	if err != nil {
		return fmt.Errorf("writing the record of sandbox %q: %w", rec.Name, err)
	}
	return nil
}

// SaveContainer replaces the record of the container that it names. Version
// and BootID are filled in.
func (r *Records) SaveContainer(rec ContainerRecord) error {
	if err := errors.Join(CheckName(rec.Sandbox), CheckName(rec.Name)); err != nil {
		return err
	}
	rec.Version, rec.BootID = RecordVersion, r.bootID
	err := r.write(rec.Sandbox, containerRecord(rec.Name), func(generation uint64) any { rec.Generation = generation; return rec })
	if err != nil {
		return fmt.Errorf("writing the record of container %q of sandbox %q: %w", rec.Name, rec.Sandbox, err)
	}
	return nil
}

// Expect says that a container is known to have had a record: as long as there is
// none it counts as one that can't be used.
func (r *Records) Expect(sandbox, container string) error {
	if err := errors.Join(CheckName(sandbox), CheckName(container)); err != nil {
		return err
	}
	return r.spares.expect(sandbox, container)
}

// Note is a record as it may be kept elsewhere; see FromNote.
func (r *Records) Note(rec ContainerRecord) ([]byte, error) {
	rec.Version, rec.BootID = RecordVersion, r.bootID
	object, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	return sealed.Seal(sealed.Sign(r.key, noteOf(rec.Sandbox, rec.Name), object)), nil
}

// FromNote is the record that a note is of, which must be that container's and
// signed with this daemon's key, or, with unsigned, whole. Whether it is the
// last one is for the caller to know.
func (r *Records) FromNote(note []byte, sandbox, container string, unsigned bool) (rec ContainerRecord, err error) {
	if !sealed.Sealed(note) || !unsigned && !sealed.Signed(r.key, noteOf(sandbox, container), note) {
		return rec, errors.New("it is damaged, or not signed with this daemon's key")
	}
	err = decode(note, &rec, func(rec *ContainerRecord) string { return r.checkContainer(sandbox, container, rec) })
	return rec, err
}

// noteOf is what a note is signed as: no file's record.
func noteOf(sandbox, container string) string { return sandbox + "/note/" + container }

// write writes what at makes of a record of the next generation.
func (r *Records) write(sandbox, file string, at func(generation uint64) any) error {
	r.spares.writing.Lock()
	defer r.spares.writing.Unlock()
	generation, err := r.spares.next(sandbox, file)
	if err != nil {
		return err
	}
	object, err := json.Marshal(at(generation))
	if err != nil {
		return err
	}
	signed := json.RawMessage(sealed.Sign(r.key, sandbox+"/"+file, object))
	path := filepath.Join(r.Dir(sandbox), file)
	err = sealed.Put(path, signed)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = sealed.Put(path, signed)
	}
	if err == nil {
		r.spares.written(sandbox, file, generation, sealed.Seal(signed))
	}
	return err
}

// Mend replaces the damaged records of a sandbox by their copies, where these
// can be used, and keeps what was damaged as FILE.damaged.
func (r *Records) Mend(name string) error {
	l, err := r.Load(name)
	if err != nil {
		return err
	}
	var errs []error
	for file := range l.Damaged {
		path := filepath.Join(r.Dir(name), file)
		err := sealed.Mend(path, recordMax, r.decoder(name, file))
		if _, damaged := errors.AsType[*sealed.Damage](err); damaged || errors.Is(err, fs.ErrNotExist) {
			// Its copy is no better: what Load has is the spare.
			if err = sealed.SetAside(path); err == nil {
				err = r.saveAgain(l, file)
			}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("mending the records of sandbox %q: %w", name, err)
	}
	return nil
}

// saveAgain writes a record as it was loaded.
func (r *Records) saveAgain(l Loaded, file string) error {
	container, ok := containerOf(file)
	if !ok {
		return r.Save(*l.Record)
	}
	for _, c := range slices.Concat(l.Containers, l.Servers) {
		if c.Name == container {
			return r.SaveContainer(c)
		}
	}
	return nil // removed meanwhile
}

// Tend makes the copies of a sandbox's records that can be used what these are.
func (r *Records) Tend(name string) error {
	l, err := r.Load(name)
	if err != nil {
		return err
	}
	files := []string{sandboxRecord}
	for _, c := range slices.Concat(l.Containers, l.Servers) {
		files = append(files, containerRecord(c.Name))
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, sealed.Tend(filepath.Join(r.Dir(name), file), recordMax, r.decoder(name, file)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("copying the records of sandbox %q: %w", name, err)
	}
	return nil
}

// decoder says whether a file in a sandbox's directory is the record that it
// should be.
func (r *Records) decoder(name, file string) func([]byte) error {
	if container, ok := containerOf(file); ok {
		return func(data []byte) error { return r.decodeContainer(data, name, container, new(ContainerRecord)) }
	}
	return func(data []byte) error { return r.decodeRecord(data, name, new(Record)) }
}

// DeleteContainer removes the record of a container; one that is not there is
// deleted.
func (r *Records) DeleteContainer(name, container string) error {
	if err := errors.Join(CheckName(name), CheckName(container)); err != nil {
		return err
	}
	r.spares.writing.Lock()
	defer r.spares.writing.Unlock()
	err := r.spares.drop(name, container) // it must not stand in for what is removed
	if err == nil {
		err = sealed.Remove(r.containerFile(name, container))
	}
	if err == nil {
		err = r.spares.removed(name, container)
	}
	if err != nil {
		return fmt.Errorf("deleting the record of container %q of sandbox %q: %w", container, name, err)
	}
	return nil
}

// Delete removes all records of a sandbox, broken and half-written ones too:
// the sandbox's own last, so that a crash in between leaves a sandbox that is
// still known. Then it removes the directory; it is an error (ENOTEMPTY) if
// something is left in there that is not a record, since that is another's to
// remove, and perhaps a mount. What is not there is deleted.
func (r *Records) Delete(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	r.spares.writing.Lock()
	defer r.spares.writing.Unlock()
	r.cache.forget(name)
	if err := r.spares.forget(name); err != nil { // first: they must not stand in for what is removed
		return fmt.Errorf("deleting the records of sandbox %q: %w", name, err)
	}
	err := errors.Join(
		removeFiles(r.containerDir(name), func(string) bool { return true }),
		removeFile(r.containerDir(name)),
		removeFiles(r.Dir(name), func(file string) bool {
			return strings.HasPrefix(file, "sandbox.json") || strings.HasPrefix(file, ".sandbox.json")
		}),
		removeFile(r.Dir(name)),
	)
	if err != nil {
		return fmt.Errorf("deleting the records of sandbox %q: %w", name, err)
	}
	return nil
}

// removeFiles removes the chosen files of a directory.
func removeFiles(dir string, choose func(file string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return nil
	}
	errs := []error{err}
	for _, e := range slices.Backward(entries) {
		path := filepath.Join(dir, e.Name())
		switch {
		case !choose(e.Name()):
		case strings.Contains(e.Name(), ".json"): // a record, or whatever was put in its place
			errs = append(errs, os.RemoveAll(path))
		default:
			errs = append(errs, removeFile(path))
		}
	}
	return errors.Join(errs...)
}

// removeFile removes a file or an empty directory.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
		return err
	}
	return nil
}
