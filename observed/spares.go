package observed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// spares are, out of the reach of who could write to records, what each record was
// when it was written last, and its generation: an earlier record is as well signed
// as a later one. They need no fsync, as records themselves don't outlive a boot,
// and what can't be written of them must not keep a record from being so: this
// daemon knows it all the same, and the next asks the kernel.
type spares struct {
	dir string // DIR/SANDBOX/FILE, and FILE.last with the generation

	// writing is held while a record gets its generation, is written and is noted:
	// who was overtaken must not be taken for who puts back an earlier one.
	writing sync.Mutex

	mu   sync.Mutex
	last map[string]uint64 // by sandbox/file, as far as it was asked for
	// kept are the containers of a sandbox of which there is one, likewise.
	kept map[string]map[string]bool
}

func newSpares(dir string) *spares {
	return &spares{dir: dir, last: map[string]uint64{}, kept: map[string]map[string]bool{}}
}

const lastSuffix = ".last"

func (s *spares) path(sandbox, file string) string { return filepath.Join(s.dir, sandbox, file) }

// generation gives the last one of a record; known is false where there was none.
func (s *spares) generation(sandbox, file string) (last uint64, known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(sandbox, file)
}

func (s *spares) get(sandbox, file string) (last uint64, known bool, err error) {
	key := sandbox + "/" + file
	if last, ok := s.last[key]; ok {
		return last, true, nil
	}
	data, err := s.read(s.path(sandbox, file) + lastSuffix)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ELOOP) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading which records are the last: %w", err)
	}
	last, err = strconv.ParseUint(string(data), 10, 64)
	if err != nil {
		return 0, false, nil // damaged: as if there was none
	}
	s.last[key] = last
	return last, true, nil
}

// next gives the generation of the record that is about to be written.
func (s *spares) next(sandbox, file string) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known, err := s.get(sandbox, file)
	if err == nil && !known {
		s.set(sandbox, file, 0) // a crash after the record was written must not make it unknown
	}
	return max(last+1, uint64(time.Now().UnixNano())), err
}

// written notes what was, and keeps it.
func (s *spares) written(sandbox, file string, generation uint64, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(sandbox, file, generation)
	_ = s.keep(s.path(sandbox, file), data) // one that is torn is none
	if container, ok := containerOf(file); ok {
		if kept, err := s.containersOf(sandbox); err == nil {
			kept[container] = true
		}
	}
}

// expect has a container count as one of which a record is kept.
func (s *spares) expect(sandbox, container string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, err := s.containersOf(sandbox)
	if err == nil {
		kept[container] = true
	}
	return err
}

// drop keeps it no more: it is about to be removed.
func (s *spares) drop(sandbox, container string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, err := s.containersOf(sandbox)
	if err == nil {
		delete(kept, container)
		err = os.RemoveAll(s.path(sandbox, containerRecord(container)))
	}
	return err
}

// removed notes that it was: an earlier one is none from here on.
func (s *spares) removed(sandbox, container string) error {
	generation, err := s.next(sandbox, containerRecord(container))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(sandbox, containerRecord(container), generation)
	return nil
}

// set writes in place: so small a write is not torn, and needs no room on a disk
// that is full by now.
func (s *spares) set(sandbox, file string, generation uint64) {
	s.last[sandbox+"/"+file] = generation
	path := s.path(sandbox, file) + lastSuffix
	if err := s.write(path, generation); errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		_ = s.write(path, generation)
	}
}

func (s *spares) write(path string, generation uint64) error {
	return s.keep(path, fmt.Appendf(nil, "%020d", generation))
}

// asIs neither follows a link nor waits for a pipe's other end.
const asIs = unix.O_NOFOLLOW | unix.O_NONBLOCK

func (s *spares) read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|asIs, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 100))
}

// keep writes in place: what replaces a file has file systems write it out soon.
// What is no file there gives way.
func (s *spares) keep(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|asIs, 0o600)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		if err = os.RemoveAll(path); err == nil {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|asIs, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Truncate(int64(len(data))), f.Close())
}

// containers names those of which a record is kept.
func (s *spares) containers(sandbox string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, err := s.containersOf(sandbox)
	return slices.Collect(maps.Keys(kept)), err
}

func (s *spares) containersOf(sandbox string) (map[string]bool, error) {
	if kept, ok := s.kept[sandbox]; ok {
		return kept, nil
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, sandbox, "containers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
		return nil, err
	}
	kept := map[string]bool{}
	for _, e := range entries {
		if name, ok := containerOf("containers/" + e.Name()); ok && CheckName(name) == nil {
			kept[name] = true
		}
	}
	s.kept[sandbox] = kept
	return kept, nil
}

// forget forgets all of a sandbox: what is found of it later is not known.
func (s *spares) forget(sandbox string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.raise(s.newest(sandbox)); err != nil {
		return err
	}
	for key := range s.last {
		if strings.HasPrefix(key, sandbox+"/") {
			delete(s.last, key)
		}
	}
	delete(s.kept, sandbox)
	return os.RemoveAll(filepath.Join(s.dir, sandbox))
}

// prune forgets all sandboxes but these.
func (s *spares) prune(but []string) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if e.Name() != floorFile && !slices.Contains(but, e.Name()) {
			errs = append(errs, s.forget(e.Name()))
		}
	}
	return errors.Join(errs...)
}

// floorFile holds the last generation of all that was forgotten. What is signed, of a
// later one, and not known is of no sandbox that is gone: its generation could not be
// noted, as the disk was full. The file is there before that, and written in place.
const floorFile = ".floor"

// begin makes the floor where there is none: nothing of before counts.
func (s *spares) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.floor(); known {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(s.dir, floorFile)
	if err := s.write(path, uint64(time.Now().UnixNano())); err != nil {
		return errors.Join(err, os.RemoveAll(path))
	}
	return nil
}

func (s *spares) floor() (generation uint64, known bool) {
	data, err := s.read(filepath.Join(s.dir, floorFile))
	if err != nil {
		return 0, false
	}
	generation, err = strconv.ParseUint(string(data), 10, 64)
	return generation, err == nil
}

// raise has nothing up to a generation be believed that is not known. Where that
// can't be said, nothing is.
func (s *spares) raise(generation uint64) error {
	floor, known := s.floor()
	path := filepath.Join(s.dir, floorFile)
	if !known || generation <= floor || s.write(path, generation) == nil {
		return nil
	}
	return os.RemoveAll(path)
}

// newest is the last generation of all records of a sandbox; 0 where there is none.
func (s *spares) newest(sandbox string) (generation uint64) {
	_ = filepath.WalkDir(filepath.Join(s.dir, sandbox), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, lastSuffix) {
			return nil
		}
		last := uint64(time.Now().UnixNano()) // nobody knows
		if data, err := s.read(path); err == nil {
			if n, err := strconv.ParseUint(string(data), 10, 64); err == nil {
				last = n
			}
		}
		generation = max(generation, last)
		return nil
	})
	for key, last := range s.last {
		if strings.HasPrefix(key, sandbox+"/") {
			generation = max(generation, last)
		}
	}
	return generation
}

// unnoted says whether a record that is not known is one whose generation could not
// be noted, and notes that.
func (s *spares) unnoted(sandbox, file string, generation uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if floor, known := s.floor(); !known || generation <= floor {
		return false
	}
	s.set(sandbox, file, generation)
	return true
}
