// Package claims has the daemons of a host know what is each other's: a container
// of one must reach another's directories as little as its own daemon's. Each
// writes down its own before it starts anything, also those of "sandboxer run".
// What one has left is a claim as long as its state directory is there, or
// sandboxes of it run.
//
// A claim is tentative until its daemon is sure to start: it is taken back if that is
// refused, or dies.
//
// Its functions may be called from many goroutines and processes.
package claims

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"sandboxer/internal/sealed"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

// Dir is where claims are, one file for each daemon. Only root may enter it.
const Dir = "/run/sandboxer-claims"

// Claim is such a file. Its paths are absolute.
type Claim struct {
	StateDir string `json:"stateDir"`
	// DataDir and CgroupParent are empty where an earlier version has written it.
	DataDir      string        `json:"dataDir,omitempty"`
	CgroupParent string        `json:"cgroupParent,omitempty"`
	Things       []shelf.Thing `json:"things"`
	// Kept is what of them no container can change; nil: an earlier version has written
	// it, which did not say.
	Kept []shelf.Kept `json:"kept"`
	// Starting is set as long as its daemon may be refused yet: a name by which it has
	// noted what it has covered. Where that dies meanwhile, Before counts, which is what
	// there was; nil: nothing.
	Starting string `json:"starting,omitempty"`
	Before   *Claim `json:"before,omitempty"`
	// Again: one with that name has died before.
	Again bool `json:"-"`

	abandoned bool // it is of one that died while it started, and had none before
}

// raw is it with names of any bytes.
func (c *Claim) raw() any {
	type plain Claim
	return &struct {
		*plain
		StateDir     *sealed.Text `json:"stateDir"`
		DataDir      *sealed.Text `json:"dataDir"`
		CgroupParent *sealed.Text `json:"cgroupParent"`
	}{(*plain)(c), (*sealed.Text)(&c.StateDir), (*sealed.Text)(&c.DataDir), (*sealed.Text)(&c.CgroupParent)}
}

// MarshalJSON implements json.Marshaler.
func (c Claim) MarshalJSON() ([]byte, error) { return json.Marshal(c.raw()) }

// UnmarshalJSON implements json.Unmarshaler.
func (c *Claim) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, c.raw()) }

// Host is what is asked of the host.
type Host struct {
	// Answers says why a path can't be looked at without waiting for ever.
	Answers func(path string) error
	Cgroups Cgroups
}

// Cgroups are those of the host: a cgroup.Host.
type Cgroups interface {
	List(parent string) (names []string, err error)
	Procs(cgroup string) (pids []int, exists bool, err error)
}

// registry is a directory with claims.
type registry string

const ofHost registry = Dir

// Write writes down what is a daemon's own; its state directory must exist.
func Write(c Claim) error { return ofHost.write(c) }

// Keep writes a claim again that somebody has removed.
func Keep(c Claim) error {
	if _, err := os.Lstat(ofHost.file(c.StateDir)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Write(c)
}

// All are the claims of all daemons of the host. Those of daemons that are gone for
// good are removed.
func All(h Host) ([]Claim, error) { return ofHost.claims(h) }

// Drop removes the claim of a daemon that is gone for good.
func Drop(stateDir string, h Host) error { return ofHost.drop(stateDir, h) }

// Reserve has the calling process be the only one that works on a claim's state
// directory, whose lock it has, its data directory and its cgroup parent: there
// it would take another daemon's sandboxes and volumes for what was left. It
// returns an error that wraps ErrTaken where another daemon lives that does, or
// has died and left sandboxes that run. The claim is written, with the last one's
// things and what was kept of them, and is the caller's until it calls release, or ends.
// It is tentative until the caller writes it without Starting and Before.
func Reserve(own Claim, h Host) (_ Claim, release func() error, err error) {
	return ofHost.reserve(own, h)
}

// Kept is what all daemons keep from containers. answers is as in a Host.
func Kept(answers func(path string) error) (kept []shelf.Kept, err error) {
	all, err := ofHost.read()
	for _, c := range all {
		kept = append(kept, c.kept(answers)...)
	}
	return kept, err
}

// kept is what a daemon keeps from containers. An earlier version did not say, and has
// covered what was there.
func (c Claim) kept(answers func(path string) error) []shelf.Kept {
	if c.Kept != nil {
		return c.Kept
	}
	return shelf.Guard{Things: c.Things, Answers: answers}.Kept()
}

// TakeBack has a tentative claim be what it was before. mine: the caller has reserved it;
// else it is one of Abandoned.
func TakeBack(c Claim, mine bool) error { return ofHost.takeBack(c, mine) }

// Abandoned are the tentative claims of daemons that have died, as these wrote them: what
// they have covered is to be uncovered, and they are to be taken back.
func Abandoned() ([]Claim, error) { return ofHost.abandoned() }

// Lives says whether the daemon does that a claim is of.
func Lives(c Claim) bool { return held(lockFile(ofHost.file(c.StateDir))) }

// File is where a daemon's claim is.
func File(stateDir string) string { return ofHost.file(stateDir) }

func (r registry) write(c Claim) error {
	if err := os.MkdirAll(string(r), 0o700); err != nil {
		return err
	}
	if c.Kept == nil {
		c.Kept = []shelf.Kept{} // or it was an earlier version's
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return renameio.WriteFile(r.file(c.StateDir), b, 0o600)
}

func (r registry) file(stateDir string) string {
	sum := sha256.Sum256([]byte(stateDir))
	return filepath.Join(string(r), hex.EncodeToString(sum[:16])+".json")
}

// lockFile is held by the daemon that a claim is of, as long as it lives.
func lockFile(claim string) string { return strings.TrimSuffix(claim, ".json") + ".lock" }

func (r registry) claims(h Host) (left []Claim, err error) {
	all, err := r.read()
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if !r.isGone(c, all, h) {
			left = append(left, c)
		} else if c.abandoned {
			continue // who takes back what it has covered removes it
		} else if err := r.drop(c.StateDir, h); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// read are the claims that there are.
func (r registry) read() (all []Claim, err error) {
	paths, err := r.files()
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		c, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c.now(path))
	}
	return all, nil
}

// now is what a claim comes to: its daemon may have died before it had started.
func (c Claim) now(path string) Claim {
	switch {
	case c.Starting == "" || held(lockFile(path)):
		return c
	case c.Before != nil && c.Before.StateDir == c.StateDir:
		return *c.Before
	}
	c.abandoned = true
	return c
}

// held says at once whether a daemon has a lock.
func held(lock string) bool {
	f, err := os.OpenFile(lock, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// Stamp is another text once any claim was written, or is gone.
func Stamp() (string, error) {
	paths, err := ofHost.files()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err == unix.ENOENT {
			continue
		} else if err != nil {
			return "", &os.PathError{Op: "stat", Path: path, Err: err}
		}
		fmt.Fprintln(&text, path, st.Ino, st.Ctim)
	}
	return text.String(), nil
}

// files are the claims' files.
func (r registry) files() (paths []string, err error) {
	entries, err := os.ReadDir(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && filepath.Ext(e.Name()) == ".json" {
			paths = append(paths, filepath.Join(string(r), e.Name()))
		}
	}
	return paths, err
}

func read(file string) (c Claim, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil && c.StateDir == "" {
		err = errors.New("it names no state directory")
	}
	if err != nil {
		return c, fmt.Errorf("reading what is another daemon's: %s: %w; remove it if that daemon is gone", file, err)
	}
	return c, nil
}

// isGone says whether a claim is one of a daemon that is gone for good: it does not
// run, nor do sandboxes of it, and its state directory is not there or can't be looked
// at. What only does not answer may do so again. all are the claims that there are.
func (r registry) isGone(c Claim, all []Claim, h Host) bool {
	if h.Answers(c.StateDir) != nil {
		return false
	}
	_, err := os.Lstat(c.StateDir)
	if !c.abandoned && err == nil || isShort(err) {
		return false
	}
	lock := lockFile(r.file(c.StateDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !exists(lock) {
		return false // nobody knows whether it runs
	}
	// Somebody may have removed it under a daemon.
	if holder, err := observed.Locked(lock); err != nil || holder != "" {
		return false
	}
	cgroups, err := living(c, all, h)
	return err == nil && len(cgroups) == 0
}

// isShort says whether an error is of what this process lacks.
func isShort(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// living are the cgroups in which a daemon's sandboxes run: by its records, or, where
// these can't be read, all below its parent that no other claim explains.
func living(c Claim, all []Claim, h Host) (cgroups []string, err error) {
	if c.CgroupParent == "" {
		return nil, nil // an earlier version has written it, which did not say
	}
	names, known := c.sandboxes(h)
	if !known {
		if names, err = h.Cgroups.List(c.CgroupParent); err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return Owner(c, name, all, h).StateDir != c.StateDir })
	}
	for _, name := range names {
		at := path.Join(c.CgroupParent, name)
		pids, _, err := h.Cgroups.Procs(at)
		if err != nil {
			return nil, err
		}
		if len(pids) > 0 {
			cgroups = append(cgroups, at)
		}
	}
	return cgroups, nil
}

// sandboxes are those of which a daemon has records; known is false where nobody can
// tell.
func (c Claim) sandboxes(h Host) (names []string, known bool) {
	if h.Answers(c.StateDir) != nil || !exists(c.StateDir) {
		return nil, false
	}
	names, err := observed.Names(c.StateDir)
	return names, err == nil
}

// Owner is whose sandbox it is that has a cgroup below a claim's parent: one after the
// other may have claimed that. Who has a record of it has it, else c.
func Owner(c Claim, sandbox string, all []Claim, h Host) Claim {
	for _, other := range all {
		if other.StateDir == c.StateDir || other.CgroupParent != c.CgroupParent {
			continue
		}
		if own, _ := c.sandboxes(h); slices.Contains(own, sandbox) {
			return c
		}
		if theirs, _ := other.sandboxes(h); slices.Contains(theirs, sandbox) {
			return other
		}
	}
	return c
}

// remove needs the turn.
func remove(path string) error {
	for _, path := range []string{lockFile(path), path} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r registry) drop(stateDir string, h Host) error {
	unlock, err := r.turn()
	if err != nil {
		return err
	}
	defer unlock()
	all, err := r.read()
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.StateDir == stateDir && r.isGone(c, all, h) {
			return remove(r.file(stateDir))
		}
	}
	return nil
}
