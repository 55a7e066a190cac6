package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"

	"sandboxer/observed"
)

// Bounds that hold where Config leaves them open: the kubelet's.
const (
	DefaultMaxFile  = 10 << 20
	DefaultMaxFiles = 5
)

// Config is what a Logs needs.
type Config struct {
	// StateDir is the daemon's state directory; required. FIFOs are
	// StateDir/sandboxes/NAME/io/ID.out and .err, beside them CONTAINER.spool.
	StateDir string
	// DataDir is the daemon's data directory; required. Logs are
	// DataDir/logs/NAME/CONTAINER.log, older files of it CONTAINER.log.1 and on.
	DataDir string
	// MaxFile bounds each file, in bytes; 0 means DefaultMaxFile. An entry has
	// up to 16 KiB and some.
	MaxFile int64
	// MaxFiles bounds how many files a container has, the one that grows
	// included, 2 and up; 0 means DefaultMaxFiles.
	MaxFiles int
	// Changed is told when output of a container begins to be lost, and when
	// none was for a while; optional. It is called while the log is held up,
	// and must not call back.
	Changed func(Change)
	// Log gets what an operator should know, such as a full disk; optional.
	Log logr.Logger
}

// Logs carries the output of many containers.
type Logs struct {
	cfg     Config
	boot    string
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
}

// New returns a Logs that carries nothing yet.
func New(c Config) (*Logs, error) {
	if c.StateDir == "" || c.DataDir == "" {
		return nil, errors.New("logs: StateDir and DataDir are required")
	}
	if c.MaxFile == 0 {
		c.MaxFile = DefaultMaxFile
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = DefaultMaxFiles
	}
	boot, err := observed.BootID()
	if err != nil {
		return nil, err
	}
	return &Logs{cfg: c, boot: boot, pool: newPool(), sinks: map[key]*sink{}, instances: map[string]*instance{}}, nil
}

// Open makes the FIFOs of a new instance, starts carrying, and returns the
// container's ends, opened for reading and writing and blocking. The caller
// hands them on and closes its own; the last of them to be closed, once
// carried to the end, ends the stream. See Readers for what else to hold.
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
		err = l.Adopt(sandbox, container, id)
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
	l.mu.Lock()
	in := l.instances[id]
	l.mu.Unlock()
	if in != nil { // else it was ended at once, with its sandbox
		in.sink.begin(id)
	}
	return ends[0], ends[1], nil
}

// Readers opens the reading ends of an instance's pipes, stdout's first, for a
// process that outlives the daemon: while it holds them, what a container has
// written stays in the pipes even when the container and the daemon are gone.
// They must not be read. The caller closes them; os.ErrNotExist is as in Adopt.
func (l *Logs) Readers(sandbox, container, id string) ([]*os.File, error) {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return nil, err
	}
	fds, err := openFIFOs(paths)
	if err != nil {
		return nil, err
	}
	var ends []*os.File
	for i, fd := range fds {
		ends = append(ends, os.NewFile(uintptr(fd), paths[i]))
	}
	return ends, nil
}

// Adopt carries on with an instance that an earlier daemon opened, also one
// that has ended meanwhile. An error that is os.ErrNotExist says that its FIFOs
// are gone: it was finished.
func (l *Logs) Adopt(sandbox, container, id string) error {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("logs: closed")
	}
	if l.instances[id] != nil {
		return nil
	}
	ends, err := openFIFOs(paths)
	if err != nil {
		return err
	}
	in := &instance{key: key{sandbox, container}}
	in.sink = l.hold(in.key)
	for i, fd := range ends {
		p, err := newPump(fd, in.sink, i)
		if err != nil {
			closeAll(ends)
			for _, p := range in.pumps {
				p.gate.close()
			}
			l.release(in.sink)
			return err
		}
		in.pumps = append(in.pumps, p)
	}
	in.sink.join(in.pumps)
	l.instances[id] = in
	return nil
}

// hold returns the sink of a container, which stays until release. It is called
// with mu held.
func (l *Logs) hold(k key) *sink {
	s := l.sinks[k]
	if s == nil {
		s = &sink{
			key: k, log: l.cfg.Log.WithValues("sandbox", k.sandbox, "container", k.container),
			pool: l.pool, dropped: &l.dropped, tell: l.cfg.Changed,
			files: files{path: filepath.Join(l.logDir(k.sandbox), k.container+".log"), max: l.cfg.MaxFile, keep: l.cfg.MaxFiles},
			spool: spool{path: filepath.Join(l.ioDir(k.sandbox), k.container+".spool"), boot: l.boot},
			pumps: map[*pump]struct{}{}, followers: map[chan struct{}]struct{}{},
		}
		s.recover()
		l.sinks[k] = s
	}
	s.refs++
	return s
}

// release gives up what hold gave. It is called with mu held.
func (l *Logs) release(s *sink) {
	if s.refs--; s.refs == 0 {
		s.end()
		if l.sinks[s.key] == s {
			delete(l.sinks, s.key)
		}
	}
}

// Finish ends an instance: what its pipes still hold is written, and the FIFOs
// are removed. One that was not adopted is carried to its end just the same;
// one whose FIFOs are gone is finished already.
func (l *Logs) Finish(sandbox, container, id string) error {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return err
	}
	if err := l.Adopt(sandbox, container, id); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l.end(true, func(other string, _ *instance) bool { return other == id })
	return removeAll(append(paths, l.inputPath(sandbox, id)))
}

// Remove finishes every instance of a sandbox and removes its logs; who follows
// them comes to the end.
func (l *Logs) Remove(sandbox string) error {
	if err := checkName(sandbox); err != nil {
		return err
	}
	l.end(true, func(_ string, in *instance) bool { return in.key.sandbox == sandbox })
	l.mu.Lock()
	for k, s := range l.sinks {
		if k.sandbox == sandbox { // only read by now
			s.end()
			delete(l.sinks, k)
		}
	}
	l.mu.Unlock()
	return errors.Join(os.RemoveAll(l.ioDir(sandbox)), os.RemoveAll(l.logDir(sandbox)))
}

// Close carries what the pipes hold now and stops. FIFOs stay, so that a later
// daemon can Adopt them.
func (l *Logs) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end(false, func(string, *instance) bool { return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sinks { // only read by now
		s.end()
	}
	return nil
}

// Losing returns what of a sandbox's containers, by their names, is being lost
// because their logs can't be written: all since that began.
func (l *Logs) Losing(sandbox string) map[string]Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list map[string]Loss
	for k, s := range l.sinks {
		if loss := s.losing.Load(); loss != nil && k.sandbox == sandbox {
			if list == nil {
				list = map[string]Loss{}
			}
			list[k.container] = *loss
		}
	}
	return list
}

// Dropped returns how many bytes of output were lost because they could not be
// written.
func (l *Logs) Dropped() uint64 { return l.dropped.Load() }

// end stops the chosen instances, for good or until a later daemon adopts them,
// and waits for their pumps.
func (l *Logs) end(forGood bool, chosen func(id string, in *instance) bool) {
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
			p.stop(forGood)
		}
	}
	for _, in := range ending {
		for _, p := range in.pumps {
			<-p.done
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, in := range ending {
		l.release(in.sink)
	}
}
