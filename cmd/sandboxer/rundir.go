package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/sealed"
)

// A run has two processes: the one that its user sees, and behind it a daemon
// for this one sandbox. Each clears away what the other leaves when it is
// killed. The daemon sees that the pipe from the one before it is closed; that
// one sees its child's end, and has another do what is left to do. If both are
// killed at once, the next run finds the directory, whose lock nobody holds.

// runRecord is the file run.json in a run's data directory.
type runRecord struct {
	Name         string `json:"name"` // the sandbox's
	StateDir     string `json:"stateDir"`
	Config       string `json:"config"`
	CgroupParent string `json:"cgroupParent"`
	Container    string `json:"container"`
	Terminal     bool   `json:"terminal"`
	LogLevel     string `json:"logLevel"`
	// Made are the cgroups above the run's own that were not there, the lowest
	// first; nil: nothing was begun.
	Made []string `json:"made"`

	dir string // that the record is in
}

// raw is it with names of any bytes.
func (r *runRecord) raw() any {
	type plain runRecord
	return &struct {
		*plain
		StateDir     *sealed.Text `json:"stateDir"`
		Config       *sealed.Text `json:"config"`
		CgroupParent *sealed.Text `json:"cgroupParent"`
	}{(*plain)(r), (*sealed.Text)(&r.StateDir), (*sealed.Text)(&r.Config), (*sealed.Text)(&r.CgroupParent)}
}

// MarshalJSON implements json.Marshaler.
func (r runRecord) MarshalJSON() ([]byte, error) { return json.Marshal(r.raw()) }

// UnmarshalJSON implements json.Unmarshaler.
func (r *runRecord) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, r.raw()) }

// The files of a run's data directory.
const (
	runFile      = "run.json"
	runManifests = "manifests"
	runManifest  = "sandbox.yaml"
	runData      = "data"
	runLock      = "lock"
)

// runReport is a line that the daemon of a run writes.
type runReport struct {
	Change *api.Change `json:"change,omitempty"`
	Error  string      `json:"error,omitempty"` // why it could not go on; the last line
}

// newRun makes a run's directories, after it has cleared away those that nobody
// works on any more. The lock is held while somebody has lock open.
func (c *cli) newRun(s *desired.Sandbox, terminal bool, o runOptions) (r *runRecord, lock *os.File, err error) {
	if o.dataDir, err = filepath.Abs(o.dataDir); err != nil {
		return nil, nil, err
	}
	if o.stateDir, err = filepath.Abs(o.stateDir); err != nil {
		return nil, nil, err
	}
	for _, dir := range []string{o.dataDir, o.stateDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, err
		}
	}
	// One at a time: a directory without a lock is one that was left.
	all, err := os.Open(o.dataDir)
	if err != nil {
		return nil, nil, err
	}
	defer all.Close()
	if err := unix.Flock(int(all.Fd()), unix.LOCK_EX); err != nil {
		return nil, nil, os.NewSyscallError("flock", err)
	}
	if err := c.sweep(o.dataDir); err != nil {
		c.say("sandboxer: %v", err) // no reason not to run
	}
	r = &runRecord{Name: s.Name, Config: o.config, Container: s.Spec.Containers[0].Name, Terminal: terminal, LogLevel: o.logLevel}
	// Short: the path of a socket has at most 107 bytes.
	if r.dir, err = os.MkdirTemp(o.dataDir, s.Name[:min(len(s.Name), 16)]+"."); err != nil {
		return nil, nil, err
	}
	base := filepath.Base(r.dir)
	r.StateDir, r.CgroupParent = filepath.Join(o.stateDir, base), filepath.Join(o.cgroupParent, "sandboxer-run."+base)
	if lock, err = r.write(s); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(r.dir))
	}
	return r, lock, nil
}

func (r *runRecord) write(s *desired.Sandbox) (lock *os.File, err error) {
	manifest, err := desired.Encode(s)
	if err != nil {
		return nil, err
	}
	record, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(r.dir, runManifests), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(r.dir, runManifests, runManifest), manifest, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(r.dir, runFile), record, 0o600); err != nil {
		return nil, err
	}
	lock, _, err = lockRun(r.dir)
	return lock, err
}

// lockRun takes the lock of a run's directory; false: a process of it lives.
func lockRun(dir string) (lock *os.File, free bool, err error) {
	lock, err = os.OpenFile(filepath.Join(dir, runLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock, true, nil
	}
	lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, false, nil
	}
	return nil, false, os.NewSyscallError("flock", err)
}

// isRun says whether a directory is that of a run, or of one that was killed
// before it had written all of it: in a folder that others use, too, theirs are
// none.
func isRun(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, runFile)); err == nil {
		return true
	}
	if named, err := filepath.Match("?*.[0-9]*", filepath.Base(dir)); err != nil || !named {
		return false
	}
	return holdsOnly(dir, runManifests, runLock) && holdsOnly(filepath.Join(dir, runManifests), runManifest)
}

// holdsOnly says whether nothing but files of these names is in a directory,
// which need not be there.
func holdsOnly(dir string, names ...string) bool {
	entries, err := os.ReadDir(dir)
	return (err == nil || errors.Is(err, os.ErrNotExist)) &&
		!slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !slices.Contains(names, e.Name()) })
}

// sweep clears away the runs of which no process lives.
func (c *cli) sweep(dataDir string) error {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(dataDir, e.Name())
		if !e.IsDir() || !isRun(dir) {
			continue
		}
		lock, free, err := lockRun(dir)
		if err != nil || !free {
			errs = append(errs, err)
			continue
		}
		err = c.clear(dir, lock)
		lock.Close()
		if err != nil {
			errs = append(errs, fmt.Errorf("clearing away what is left of an earlier run, %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// clear leaves nothing of a run whose daemon is gone.
func (c *cli) clear(dir string, lock *os.File) error {
	b, err := os.ReadFile(filepath.Join(dir, runFile))
	r := runRecord{dir: dir}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		// It was killed before it had written that, and so before all else.
		return os.RemoveAll(dir)
	}
	d, err := startRunDaemon(clearArg0, &r, lock, nil, c.stderr)
	if err != nil {
		return err
	}
	d.leave()
	return d.wait(func(api.Change) {})
}

// runDaemonProcess is the daemon of a run, seen by who has started it.
type runDaemonProcess struct {
	cmd     *exec.Cmd
	caller  *os.File // closing it has everything ended at once
	reports *os.File
}

// The names by which the program knows that it is to be the daemon of a run, or
// of what is left of one.
const (
	runArg0   = "sandboxer-run"
	clearArg0 = "sandboxer-clear"
)

// The descriptors that it finds open; those of the container follow.
const (
	runCallerFD = 3 + iota
	runReportFD
	runLockFD
	runStdioFD
)

// startRunDaemon starts the daemon of a run. It lives in a session of its own:
// what is typed at a terminal, and its hang-up, are for the caller.
func startRunDaemon(arg0 string, r *runRecord, lock *os.File, stdio []*os.File, stderr io.Writer) (*runDaemonProcess, error) {
	theirs, caller, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	reports, report, err := os.Pipe()
	if err != nil {
		caller.Close()
		return nil, err
	}
	defer report.Close()
	d := &runDaemonProcess{caller: caller, reports: reports, cmd: &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{arg0, r.dir},
		Env:         os.Environ(),
		Dir:         "/",
		Stderr:      stderr,
		ExtraFiles:  append([]*os.File{theirs, report, lock}, stdio...),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}}
	if err := d.cmd.Start(); err != nil {
		caller.Close()
		reports.Close()
		return nil, fmt.Errorf("starting the daemon of this run: %w", err)
	}
	return d, nil
}

// finish has the sandbox ended and removed, with the time that its containers
// are given.
func (d *runDaemonProcess) finish() { _, _ = d.caller.Write([]byte{0}) } // it may have gone

// leave has the sandbox ended at once, and removed.
func (d *runDaemonProcess) leave() { d.caller.Close() }

// wait tells of changes until the daemon ends. An error says why something may
// be left of the sandbox.
func (d *runDaemonProcess) wait(seen func(api.Change)) error {
	defer d.reports.Close()
	var said error
	for dec := json.NewDecoder(d.reports); ; {
		var r runReport
		if dec.Decode(&r) != nil {
			break // the end: what it was is known below
		}
		if r.Change != nil {
			seen(*r.Change)
		} else {
			said = errors.New(r.Error)
		}
	}
	if err := d.cmd.Wait(); said == nil && err != nil {
		said = fmt.Errorf("%w: %w", errRunDaemonDied, err)
	}
	return said
}

var errRunDaemonDied = errors.New("the daemon of this run died")
