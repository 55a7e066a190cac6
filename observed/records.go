package observed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sandboxer/internal/sealed"
)

// Records are the files STATE/sandboxes/NAME/sandbox.json and
// STATE/sandboxes/NAME/containers/CONTAINER.json. Each is replaced as a whole,
// so that a reader sees the old one or the new one, and has a checksum and a
// copy (see package sealed); a crash may leave a hidden temporary file, which
// counts for nothing and goes with Delete. Writers of one sandbox's records are
// for the caller to order.
type Records struct {
	dir    string // STATE/sandboxes
	bootID string
}

// NewRecords returns the records below stateDir, which need not exist yet.
// bootID (see BootID) is written into each; records of another boot count as
// broken: their processes are gone for sure and their pids mean nothing.
func NewRecords(stateDir, bootID string) (*Records, error) {
	if stateDir == "" || bootID == "" {
		return nil, errors.New("records need a state directory and a boot id")
	}
	return &Records{dir: filepath.Join(stateDir, "sandboxes"), bootID: bootID}, nil
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

func (r *Records) containerDir(name string) string {
	return filepath.Join(r.Dir(name), "containers")
}

func (r *Records) containerFile(name, container string) string {
	return filepath.Join(r.containerDir(name), container+".json")
}

// List names the sandboxes that have a directory of records, sorted, whether
// or not what is in there can be used. Files that have no such name are
// nobody's and left out.
func (r *Records) List() ([]string, error) {
	entries, err := os.ReadDir(r.dir)
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
	if err := r.write(r.Dir(rec.Name), r.sandboxFile(rec.Name), rec); err != nil {
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
	file := r.containerFile(rec.Sandbox, rec.Name)
	if err := r.write(r.containerDir(rec.Sandbox), file, rec); err != nil {
		return fmt.Errorf("writing the record of container %q of sandbox %q: %w", rec.Name, rec.Sandbox, err)
	}
	return nil
}

func (r *Records) write(dir, file string, rec any) error {
	err := sealed.Write(file, rec)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return sealed.Write(file, rec)
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
		errs = append(errs, sealed.Mend(filepath.Join(r.Dir(name), file), recordMax, r.decoder(name, file)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("mending the records of sandbox %q: %w", name, err)
	}
	return nil
}

// Tend makes the copies of a sandbox's records that can be used what these are.
func (r *Records) Tend(name string) error {
	l, err := r.Load(name)
	if err != nil {
		return err
	}
	files := []string{"sandbox.json"}
	for _, c := range slices.Concat(l.Containers, l.Servers) {
		files = append(files, filepath.Join("containers", c.Name+".json"))
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
	if container, nested := strings.CutPrefix(file, "containers/"); nested {
		return func(data []byte) error {
			return r.decodeContainer(data, name, strings.TrimSuffix(container, ".json"), new(ContainerRecord))
		}
	}
	return func(data []byte) error { return r.decodeRecord(data, name, new(Record)) }
}

// DeleteContainer removes the record of a container; one that is not there is
// deleted.
func (r *Records) DeleteContainer(name, container string) error {
	if err := errors.Join(CheckName(name), CheckName(container)); err != nil {
		return err
	}
	if err := sealed.Remove(r.containerFile(name, container)); err != nil {
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
		if choose(e.Name()) {
			errs = append(errs, removeFile(filepath.Join(dir, e.Name())))
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
