// Package written remembers which places of the host containers can write to, or
// could, whichever daemon they are or were of: what is there may be their work. A
// place is remembered until it is gone, or the host is booted.
//
// It judges nothing but places and times. A Log may be used by many goroutines,
// and many processes have one.
package written

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/claims"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/sealed"
	"sandboxer/internal/shelf"
)

// Dir has a file for each sandbox that is there, and one for each place that
// another one could write to. Only root may enter it.
const Dir = claims.Dir + "/written"

// Writer is a sandbox whose containers can write to places, or could.
type Writer struct {
	// StateDir is its daemon's.
	StateDir string `json:"stateDir"`
	// Sandbox is its name.
	Sandbox string `json:"sandbox"`
	// Places are where.
	Places []shelf.Place `json:"places"`
	// Until is when it had ended; zero: it can still write there.
	Until time.Time `json:"until,omitzero"`
	// Since is from when on, at the earliest; zero: nobody knows.
	Since time.Time `json:"since,omitzero"`

	unsure bool // it may be another place
}

// raw is it with names of any bytes.
func (w *Writer) raw() any {
	type plain Writer
	return &struct {
		*plain
		StateDir *sealed.Text `json:"stateDir"`
	}{(*plain)(w), (*sealed.Text)(&w.StateDir)}
}

// MarshalJSON implements json.Marshaler.
func (w Writer) MarshalJSON() ([]byte, error) { return json.Marshal(w.raw()) }

// UnmarshalJSON implements json.Unmarshaler.
func (w *Writer) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, w.raw()) }

// Could is the writer as the end of a sentence: "a volume that …".
func (w Writer) Could() string {
	if w.unsure {
		w.unsure = false
		return w.Could() + ", for all that can be told of an overlay"
	}
	if w.Until.IsZero() {
		return fmt.Sprintf("sandbox %q can write", w.Sandbox)
	}
	return fmt.Sprintf("sandbox %q could write until %s", w.Sandbox, w.Until.Format(time.RFC3339))
}

// Log is what one daemon writes down and all read.
type Log struct {
	dir, stateDir string
	answers       func(path string) error

	mu    sync.Mutex
	begun map[string]Writer // by sandbox, as it was written down
	ends  int               // of sandboxes, since places were looked for that are gone

	seenMu sync.Mutex
	seen   map[string]seen // files as they were read last, by name
}

// seen is what a file said.
type seen struct {
	version
	Writer
}

// version tells a file from what was there before: each is another file, which is
// never written to again.
type version struct {
	inode        uint64
	size         int64
	mtime, ctime unix.Timespec
}

// New returns the log of the daemon with that state directory. answers says why a
// path can't be looked at without waiting for ever.
func New(dir, stateDir string, answers func(path string) error) *Log {
	return &Log{dir: dir, stateDir: stateDir, answers: answers, begun: map[string]Writer{}}
}

// Begin writes down where a sandbox can write from now on, in addition to what it
// could before.
func (l *Log) Begin(sandbox string, places []shelf.Place) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, err := read(l.file(sandbox))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	known := len(w.Places)
	if was, ok := l.begun[sandbox]; ok && known == 0 { // somebody has removed it
		w = was
		w.Places = slices.Clone(was.Places)
	} else if known == 0 {
		w.Since = time.Now()
	}
	for _, p := range places {
		if !slices.Contains(w.Places, p) {
			w.Places = append(w.Places, p)
		}
	}
	if len(w.Places) == known {
		l.begun[sandbox] = w
		return nil
	}
	w.StateDir, w.Sandbox = l.stateDir, sandbox
	if err := l.write(l.file(sandbox), w); err != nil {
		return err
	}
	l.begun[sandbox] = w
	return nil
}

// Keep writes down again what somebody has removed of sandboxes that have begun and
// not ended.
func (l *Log) Keep() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for sandbox, w := range l.begun {
		if _, err := os.Lstat(l.file(sandbox)); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, l.write(l.file(sandbox), w))
		} else {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// pruneAfter is after how many ends places are looked for that are gone.
const pruneAfter = 100

// End writes down that nothing of a sandbox is left.
func (l *Log) End(sandbox string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, err := read(l.file(sandbox))
	if was, ok := l.begun[sandbox]; ok && errors.Is(err, fs.ErrNotExist) {
		w, err = was, nil // somebody has removed it
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	w.Until = time.Now()
	for _, p := range w.Places {
		if err := l.ended(w, p); err != nil {
			return err
		}
	}
	if err := os.Remove(l.file(sandbox)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(l.begun, sandbox)
	if l.ends++; l.ends%pruneAfter == 0 {
		return l.prune()
	}
	return nil
}

// ended writes down that a sandbox could write to a place, unless another one
// could that has ended later, by its daemon's clock or by one that was put back since.
func (l *Log) ended(w Writer, p shelf.Place) error {
	path := l.endedName(p)
	// What can't be read says nothing, and refuses all else until it is written anew.
	if before, err := read(path); err == nil {
		if before.Until.After(w.Until) {
			return nil
		}
		if before.Since.Before(w.Since) {
			w.Since = before.Since
		}
	}
	w.Places = []shelf.Place{p}
	return l.write(path, w)
}

// Adopt is called once, before a daemon does anything: what it has had and is not
// there any more has ended.
func (l *Log) Adopt(isThere func(sandbox string) bool) error {
	all, err := l.Writers()
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range all {
		if w.StateDir == l.stateDir && w.Until.IsZero() && !isThere(w.Sandbox) {
			errs = append(errs, l.End(w.Sandbox))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(append(errs, l.prune())...)
}

// Writers are all of the host. Nobody may change their places.
func (l *Log) Writers() (all Writers, err error) {
	dir, err := os.Open(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	l.seenMu.Lock()
	defer l.seenMu.Unlock()
	now := make(map[string]seen, len(names))
	for _, name := range names {
		if filepath.Ext(name) != ".json" || strings.HasPrefix(name, ".") {
			continue
		}
		s, err := l.see(int(dir.Fd()), name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading where containers can write: %s: %w; remove it if no sandbox runs", filepath.Join(l.dir, name), err)
		}
		now[name] = s
		all = append(all, s.Writer)
	}
	l.seen = now
	return all, nil
}

// see is what a file says, which is read where it is not the one that was seen last. The
// caller holds the lock.
func (l *Log) see(dir int, name string) (seen, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return seen{}, err
	}
	v := version{st.Ino, st.Size, st.Mtim, st.Ctim}
	if was, ok := l.seen[name]; ok && was.version == v {
		return was, nil
	}
	w, err := read(filepath.Join(l.dir, name)) // what is newer than v is read once more
	return seen{v, w}, err
}

// prune forgets places that are gone. The caller holds the lock.
func (l *Log) prune() error {
	all, err := l.Writers()
	if err != nil {
		return err
	}
	mounts, err := mountinfo.Read()
	if err != nil {
		return err
	}
	silent := map[string]bool{}
	for _, w := range all {
		if w.Until.IsZero() || len(w.Places) != 1 || !l.isGone(w.Places[0], mounts, silent) {
			continue
		}
		if err := os.Remove(l.endedName(w.Places[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// isGone says whether nothing is at a place any more. A disk that is not mounted
// may be again, while other file systems get others' numbers. silent are the devices
// of those that did not answer, which are waited for once.
func (l *Log) isGone(p shelf.Place, mounts []mountinfo.Mount, silent map[string]bool) bool {
	if p.Anywhere {
		return false
	}
	paths := p.Paths(mounts)
	if len(paths) == 0 {
		return p.Own || strings.HasPrefix(p.Device, "0:") && !slices.ContainsFunc(mounts, func(m mountinfo.Mount) bool { return m.Device == p.Device })
	}
	for _, path := range paths {
		if silent[p.Device] || l.answers(path) != nil {
			silent[p.Device] = true
			return false
		}
		if gone, err := p.Gone(path); !gone || err != nil {
			return false
		}
	}
	return true
}

func (l *Log) file(sandbox string) string { return l.name("sandbox", l.stateDir, sandbox) }

// endedName has all that tells a place from others: where one thing was there may be
// another one by now, and the first elsewhere.
func (l *Log) endedName(p shelf.Place) string {
	parts := []string{"ended", p.Device, p.At, strconv.FormatUint(p.Dev, 10), strconv.FormatUint(p.Inode, 10), p.Handle, p.UUID, strconv.FormatBool(p.Anywhere)}
	if p.Own {
		parts = append(parts, "own")
	}
	return l.name(parts...)
}

func (l *Log) name(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return filepath.Join(l.dir, hex.EncodeToString(sum[:16])+".json")
}

func (l *Log) write(path string, w Writer) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	// No boot outlives it, so it waits for no disk: a sandbox that starts or ends
	// would.
	temp, err := os.CreateTemp(l.dir, ".")
	if err != nil {
		return err
	}
	_, err = temp.Write(b)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // what is left of it counts for nothing
	}
	return err
}

func read(path string) (w Writer, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return w, err
	}
	if w.Sandbox == "" {
		return w, errors.New("it names no sandbox")
	}
	return w, nil
}
