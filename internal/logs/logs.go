package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// DefaultMaxFile is how large one of a container's two log files may get.
const DefaultMaxFile = 10 << 20

// pipeSize is what a container may write while no daemon reads: the most that
// the kernel gives by default (fs.pipe-max-size).
const pipeSize = 1 << 20

// Config is what a Logs needs.
type Config struct {
	// StateDir is the daemon's state directory; required. FIFOs are
	// StateDir/sandboxes/NAME/io/ID.out and .err.
	StateDir string
	// DataDir is the daemon's data directory; required. Logs are
	// DataDir/logs/NAME/CONTAINER.log, the older half in CONTAINER.log.1.
	DataDir string
	// MaxFile bounds each of the two files, in bytes; 0 means DefaultMaxFile.
	MaxFile int64
	// Log gets what an operator should know, such as a full disk; optional.
	Log logr.Logger
}

// Logs carries the output of many containers.
type Logs struct {
	cfg     Config
	pool    *sync.Pool
	dropped atomic.Uint64

	mu        sync.Mutex
	closed    bool
	sinks     map[key]*sink
	instances map[string]*instance // by container id
}

type key struct{ sandbox, container string }

// instance is one run of one container: two streams into one sink.
type instance struct {
	key   key
	sink  *sink
	pumps []*pump
	fifos []string
}

// New returns a Logs that carries nothing yet.
func New(c Config) (*Logs, error) {
	if c.StateDir == "" || c.DataDir == "" {
		return nil, errors.New("logs: StateDir and DataDir are required")
	}
	if c.MaxFile == 0 {
		c.MaxFile = DefaultMaxFile
	}
	return &Logs{cfg: c, pool: newPool(), sinks: map[key]*sink{}, instances: map[string]*instance{}}, nil
}

// Open makes the FIFOs of a new instance, starts carrying, and returns the
// container's ends, opened for reading and writing and blocking. The caller
// hands them on and closes its own; the last of them to be closed, once
// carried to the end, ends the stream.
func (l *Logs) Open(sandbox, container, id string) (stdout, stderr *os.File, err error) {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return nil, nil, err
	}
	if err := l.Finish(sandbox, container, id); err != nil { // a half-made instance of the same name
		return nil, nil, err
	}
	if err := os.MkdirAll(filepath.Dir(paths[0]), 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the folder of the output pipes: %w", err)
	}
	var ends [2]*os.File
	for i, p := range paths {
		if ends[i], err = makeFIFO(p); err != nil {
			break
		}
	}
	if err == nil {
		err = l.carry(sandbox, container, id, paths)
	}
	if err != nil {
		for i, p := range paths {
			if ends[i] != nil {
				ends[i].Close()
			}
			os.Remove(p)
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// makeFIFO returns the writer's end. It is opened here and not with os.OpenFile,
// which would make it non-blocking, and that is shared with the container.
func makeFIFO(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("making output pipe %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening output pipe %s: %w", path, err)
	}
	// Best effort: a smaller pipe only holds less while no daemon reads.
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize)
	return os.NewFile(uintptr(fd), path), nil
}

// Adopt carries on with an instance that an earlier daemon opened. An error
// that is os.ErrNotExist says that its FIFOs are gone.
func (l *Logs) Adopt(sandbox, container, id string) error {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return err
	}
	return l.carry(sandbox, container, id, paths)
}

// Readers opens the reading ends of an instance's FIFOs once more: whoever
// holds them keeps what is written while no daemon reads, also beyond the end
// of the container. The caller closes them.
func (l *Logs) Readers(sandbox, container, id string) ([]*os.File, error) {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return nil, err
	}
	return openReaders(paths)
}

// carry opens the reading ends and starts a pump for each.
func (l *Logs) carry(sandbox, container, id string, paths []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("logs: closed")
	}
	if l.instances[id] != nil {
		return nil
	}
	ends, err := openReaders(paths)
	if err != nil {
		return err
	}
	k := key{sandbox, container}
	s := l.sinks[k]
	if s == nil {
		s = newSink(l.logFile(sandbox, container), l.cfg.MaxFile, &l.dropped, l.pool,
			l.cfg.Log.WithValues("sandbox", sandbox, "container", container))
		l.sinks[k] = s
	}
	s.users++
	in := &instance{key: k, sink: s, fifos: paths}
	for i, f := range ends {
		p := &pump{file: f, sink: s, stream: i, done: make(chan struct{})}
		in.pumps = append(in.pumps, p)
		go p.run()
	}
	l.instances[id] = in
	return nil
}

func openReaders(paths []string) ([]*os.File, error) {
	var ends []*os.File
	for _, p := range paths {
		f, err := os.OpenFile(p, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			for _, f := range ends {
				f.Close()
			}
			return nil, fmt.Errorf("opening output pipe: %w", err)
		}
		ends = append(ends, f)
	}
	return ends, nil
}

// Finish ends an instance: what its pipes still hold is written, followers of
// its log end, and the FIFOs are removed. One that was not adopted is carried
// to its end just the same; one whose FIFOs are gone is finished already.
func (l *Logs) Finish(sandbox, container, id string) error {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return err
	}
	if err := l.carry(sandbox, container, id, paths); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l.end(func(other string, _ *instance) bool { return other == id })
	return removeAll(paths)
}

// Remove finishes every instance of a sandbox and removes its logs.
func (l *Logs) Remove(sandbox string) error {
	if err := checkName(sandbox); err != nil {
		return err
	}
	l.end(func(_ string, in *instance) bool { return in.key.sandbox == sandbox })
	return errors.Join(
		os.RemoveAll(l.ioDir(sandbox)),
		os.RemoveAll(filepath.Join(l.cfg.DataDir, "logs", sandbox)))
}

// Close carries what the pipes hold now and stops. FIFOs stay, so that a later
// daemon can Adopt them.
func (l *Logs) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end(func(string, *instance) bool { return true })
	return nil
}

// Dropped returns how many bytes of output were lost because they could not be
// written.
func (l *Logs) Dropped() uint64 { return l.dropped.Load() }

// end stops the chosen instances and waits for their pumps; a sink that nobody
// writes to any more is closed.
func (l *Logs) end(chosen func(id string, in *instance) bool) {
	l.mu.Lock()
	var ending []*instance
	for id, in := range l.instances {
		if chosen(id, in) {
			ending = append(ending, in)
			delete(l.instances, id)
		}
	}
	l.mu.Unlock()
	for _, in := range ending {
		for _, p := range in.pumps {
			p.stop()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, in := range ending {
		if in.sink.users--; in.sink.users == 0 {
			in.sink.close()
			delete(l.sinks, in.key)
		}
	}
}

func (l *Logs) ioDir(sandbox string) string {
	return filepath.Join(l.cfg.StateDir, "sandboxes", sandbox, "io")
}

func (l *Logs) logFile(sandbox, container string) string {
	return filepath.Join(l.cfg.DataDir, "logs", sandbox, container+".log")
}

func (l *Logs) fifos(sandbox, container, id string) ([]string, error) {
	if err := errors.Join(checkName(sandbox), checkName(container), checkName(id)); err != nil {
		return nil, err
	}
	base := filepath.Join(l.ioDir(sandbox), id)
	return []string{base + ".out", base + ".err"}, nil
}

// checkName keeps paths inside their folders, whatever a caller passes.
func checkName(s string) error {
	if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\x00") {
		return fmt.Errorf("logs: %q can't be part of a file name", s)
	}
	return nil
}

// removeAll removes files; those that are gone already are fine.
func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
