package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/sealed"
	"sandboxer/observed"
)

// version is the format of descriptions that this build writes and reads.
const version = 1

// description is the name of the file that describes a checkpoint. It is the
// last to be written.
const description = "image.json"

// described is what that file holds.
type described struct {
	Version int `json:"version"`
	// Runtime is what wrote the checkpoint and alone can read it.
	Runtime    string                `json:"runtime"`
	Sandbox    string                `json:"sandbox"`
	CreatedAt  time.Time             `json:"createdAt"`
	Spec       json.RawMessage       `json:"spec"`
	Containers []container           `json:"containers"`
	Shares     []observed.ImageShare `json:"shares,omitempty"`
}

// container is what is written and believed of a container: nothing that names
// a process or a file of the host, whatever else is in the file. Its hooks are
// believed by their seal alone.
type container struct {
	Sandbox       string                  `json:"sandbox"`
	Name          string                  `json:"name"`
	ID            string                  `json:"id"`
	Attempt       int                     `json:"attempt"`
	Hash          string                  `json:"hash"`
	Fields        map[string]string       `json:"fields,omitempty"`
	State         observed.ContainerState `json:"state"`
	GoferRestarts int                     `json:"goferRestarts,omitempty"`
	Hooks         json.RawMessage         `json:"hooks,omitempty"`
	HookPhase     observed.HookPhase      `json:"hookPhase,omitempty"`
	HooksDone     int                     `json:"hooksDone,omitempty"`
	HooksSeal     string                  `json:"hooksSeal,omitempty"`
	StartedAt     time.Time               `json:"startedAt,omitzero"`
	Exit          *observed.Exit          `json:"exit,omitempty"`
	SharesShm     bool                    `json:"sharesShm,omitempty"`
}

func containerOf(r observed.ContainerRecord) container {
	return container{r.Sandbox, r.Name, r.ID, r.Attempt, r.Hash, r.Fields, r.State, r.GoferRestarts,
		r.Hooks, r.HookPhase, r.HooksDone, r.HooksSeal, r.StartedAt, r.Exit, r.SharesShm}
}

func (c container) record() observed.ContainerRecord {
	return observed.ContainerRecord{Sandbox: c.Sandbox, Name: c.Name, ID: c.ID, Attempt: c.Attempt, Hash: c.Hash, Fields: c.Fields,
		State: c.State, GoferRestarts: c.GoferRestarts, Hooks: c.Hooks, HookPhase: c.HookPhase, HooksDone: c.HooksDone, HooksSeal: c.HooksSeal,
		StartedAt: c.StartedAt, Exit: c.Exit, SharesShm: c.SharesShm}
}

// check says what makes no container of it.
func (c container) check() error {
	if c.State != observed.Running && c.State != observed.Stopped {
		return fmt.Errorf("container %q is neither running nor stopped but %q", c.Name, c.State)
	}
	if c.Attempt < 1 || c.HooksDone < 0 || c.GoferRestarts < 0 {
		return fmt.Errorf("container %q has counters that nobody counts: %d, %d, %d", c.Name, c.Attempt, c.HooksDone, c.GoferRestarts)
	}
	return errors.Join(observed.CheckName(c.Sandbox), observed.CheckName(c.Name), observed.CheckName(c.ID))
}

// Write makes the checkpoint dir, in which nothing may be yet: fill writes the
// runtime's files, made durable, into a directory that becomes dir once all is
// on disk. runtime is what alone can read them. When it fails nothing is left.
func Write(dir, runtime string, image observed.Image, fill func(dir string) error) (err error) {
	if err := vacant(dir); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), unfinished(dir))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	if err := fill(work); err != nil {
		return err
	}
	d := described{Version: version, Runtime: runtime, Sandbox: image.Sandbox, CreatedAt: image.CreatedAt, Spec: image.Spec, Containers: []container{}, Shares: image.Shares}
	for _, c := range image.Containers {
		d.Containers = append(d.Containers, containerOf(c))
	}
	if err := sealed.Write(filepath.Join(work, description), d); err != nil {
		return err
	}
	if err := syncDir(work); err != nil {
		return err
	}
	if err := rename(work, dir); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// unfinished names directories that are being made or removed. Names of
// sandboxes have no dots.
func unfinished(dir string) string { return "." + filepath.Base(dir) + ".part-" }

// vacant refuses a place where something is.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name a directory that is not there yet", dir)
	}
	return nil
}

// Read returns the description of a checkpoint. runtime is what would read the
// rest of it: a checkpoint of another one, or a description that can't be
// understood, is Unusable. fs.ErrNotExist: there is no checkpoint at dir.
func Read(dir, runtime string) (*observed.Image, error) {
	var d described
	_, err := sealed.Read(filepath.Join(dir, description), descriptionMax, d.decode)
	damage, damaged := errors.AsType[*sealed.Damage](err)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("there is no checkpoint at %s: %w", dir, fs.ErrNotExist)
	case damaged:
		return &observed.Image{Unusable: fmt.Sprintf("%s can't be used: %s", description, damage.Why)}, nil
	case err != nil:
		return nil, err
	}
	image := observed.Image{Sandbox: d.Sandbox, CreatedAt: d.CreatedAt, Spec: d.Spec, Containers: []observed.ContainerRecord{}, Shares: d.Shares}
	if d.Runtime != runtime {
		image.Unusable = fmt.Sprintf("it was written by %s, and this build has %s: only a sandboxer with the former can restore it", d.Runtime, runtime)
	}
	for _, c := range d.Containers {
		image.Containers = append(image.Containers, c.record())
	}
	return &image, nil
}

// descriptionMax is more than any description has, in bytes.
const descriptionMax = 64 << 20

func (d *described) decode(data []byte) error {
	var got described
	if err := json.Unmarshal(data, &got); err != nil {
		return fmt.Errorf("it can't be understood: %w", err)
	}
	if got.Version != version {
		return fmt.Errorf("it has format %d, and this build reads %d", got.Version, version)
	}
	seen := map[string]bool{}
	for _, c := range got.Containers {
		if err := c.check(); err != nil {
			return err
		}
		if seen[c.Name] || c.Sandbox != got.Sandbox {
			return fmt.Errorf("container %q of sandbox %q is in it twice, or is not of sandbox %q", c.Name, c.Sandbox, got.Sandbox)
		}
		seen[c.Name] = true
	}
	keys := map[string]bool{}
	for _, s := range got.Shares {
		if observed.CheckName(s.Key) != nil || strings.Contains(s.Key, ".") || keys[s.Key] {
			return fmt.Errorf("it names a volume %q, which can't be, or twice", s.Key)
		}
		keys[s.Key] = true
	}
	*d = got
	return nil
}

// rename moves a directory to where nothing or an empty directory is.
func rename(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// syncDir makes durable what a directory holds.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// remove removes the directory in one step, and then what was in it.
func remove(dir string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), unfinished(dir))
	if err != nil {
		return err
	}
	err = rename(dir, work)
	if err == nil {
		err = syncDir(filepath.Dir(dir))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(work))
}

// sweep removes what was not finished at dir.
func sweep(dir string) error {
	entries, err := os.ReadDir(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished(dir)) {
			errs = append(errs, os.RemoveAll(filepath.Join(filepath.Dir(dir), e.Name())))
		}
	}
	return errors.Join(errs...)
}
