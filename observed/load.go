package observed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
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
}

// Load reads all records of one sandbox. A file that is torn, of another
// format, another boot, or names another sandbox or container than its path
// does, is reported as broken and costs nothing else. An error means that a
// file could not be read, and that nobody knows what is in it.
func (r *Records) Load(name string) (Loaded, error) {
	if err := CheckName(name); err != nil {
		return Loaded{}, err
	}
	var l Loaded
	rec := &Record{}
	broken, exists, err := readRecord(r.sandboxFile(name), rec)
	if err != nil {
		return Loaded{}, fmt.Errorf("reading the record of sandbox %q: %w", name, err)
	}
	switch {
	case !exists:
		l.Broken, err = r.missing(name)
		if err != nil {
			return Loaded{}, fmt.Errorf("reading the record of sandbox %q: %w", name, err)
		}
	case broken == "":
		broken = r.checkRecord(name, rec)
		fallthrough
	default:
		l.Broken = broken
		if broken == "" {
			l.Record = rec
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
	for _, e := range entries { // sorted by file name, which is not by name
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || CheckName(name) != nil {
			continue
		}
		var rec ContainerRecord
		broken, exists, err := readRecord(r.containerFile(sandbox, name), &rec)
		if err != nil {
			return err
		}
		if !exists {
			continue // removed since the directory was read
		}
		if broken == "" {
			broken = r.checkContainer(sandbox, name, &rec)
		}
		if broken != "" {
			if l.BrokenContainers == nil {
				l.BrokenContainers = map[string]string{}
			}
			l.BrokenContainers[name] = broken
			continue
		}
		l.Containers = append(l.Containers, rec)
	}
	slices.SortFunc(l.Containers, func(a, b ContainerRecord) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// readRecord reads and decodes one file.
func readRecord(path string, into any) (broken string, exists bool, err error) {
	// Neither following a link nor waiting for a pipe's writer: what isn't a
	// plain file is no record of ours.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case errors.Is(err, errNotDir), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return "it is not a plain file", true, nil
	case err != nil:
		return "", false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "it is not a plain file", true, nil
	}
	if st.Size > recordMax {
		return "it is longer than any record", true, nil
	}
	// Records are replaced, never written to: one read gives all. Another file
	// that grows or shrinks meanwhile can't be decoded.
	data := make([]byte, st.Size)
	n, err := unix.Read(fd, data)
	if err != nil {
		return "", false, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	data = data[:n]
	if err := json.Unmarshal(data, into); err != nil {
		return "it can't be decoded: " + err.Error(), true, nil
	}
	return "", true, nil
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
	if rec.Sandbox != sandbox || rec.Name != name || rec.ID == "" {
		return fmt.Sprintf("it is of container %q of sandbox %q, ID %q", rec.Name, rec.Sandbox, rec.ID)
	}
	return ""
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
