// Package answers finds out whether host paths can be touched without waiting
// for ever. A file system that is a program's, or another machine's, may answer
// nobody: whoever asks it then hangs in the kernel, where not even SIGKILL ends
// it, and a daemon that hangs so can't be replaced. So such a path is touched
// first by a process that can be left behind.
//
// It knows nothing of manifests. A Checker may be used by many goroutines.
package answers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
)

// Arg0 is how the command line of a process begins that touches paths.
const Arg0 = "sandboxer-touch"

// Limit is how long a file system may take to answer Check.
const Limit = 3 * time.Second

// brief is how long one may that owes an answer to somebody already.
const brief = 100 * time.Millisecond

// Silent says that a file system does not answer.
type Silent struct {
	Mount string // where it is mounted
}

func (s *Silent) Error() string {
	return fmt.Sprintf("its file system does not answer (mounted at %s)", s.Mount)
}

// Checker asks. Make one with New.
type Checker struct {
	exe  string
	late func()

	mu     sync.Mutex
	helper *helper // nil: none was needed yet, or it has ended

	mountsMu sync.Mutex
	table    mountinfo.Table
	foreign  mounts // of the table
}

// helper is the process that touches paths: one for all, of which some threads
// may hang.
type helper struct {
	paths *os.File             // that it is to touch
	asked map[string]*question // by key; what it has answered is not among them
	done  int                  // Ops that it was told to do
}

// question is about one path.
type question struct {
	mount    string
	since    time.Time
	late     bool          // somebody has given it up
	answered chan struct{} // closed when it is
	err      error         // why it never will be
	did      answer        // what came of it
	file     *os.File      // that it is about, until it is answered; nil: none
}

// request is what the process is told: to touch a path, or to do something with
// what another process has open.
type request struct {
	Key  []byte // comes back with the answer; a path need not be a text
	Path []byte
	Op   *hostpath.Op // nil: the path is to be touched
}

// answer is what it says.
type answer struct {
	Key     []byte
	Content []byte `json:",omitempty"`
	Error   string `json:",omitempty"`
	Errno   int    `json:",omitempty"`
}

// failure is an error of the process's.
type failure struct {
	text  string
	errno syscall.Errno
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error {
	if f.errno == 0 {
		return nil
	}
	return f.errno
}

func (a answer) err() error {
	if a.Error == "" {
		return nil
	}
	return &failure{a.Error, syscall.Errno(a.Errno)}
}

// New returns a Checker that starts exe, this program, to touch paths. late,
// which may be nil, is called whenever something answers that was given up.
func New(exe string, late func()) *Checker {
	if late == nil {
		late = func() {}
	}
	return &Checker{exe: exe, late: late}
}

// Close ends the process that touches paths, or leaves it behind.
func (c *Checker) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.helper != nil {
		c.helper.paths.Close()
	}
	c.table.Close()
}

// Check returns an error that wraps a *Silent where the file system of a path,
// or of what it leads to, does not answer within Limit. A path that is
// not there is for others to complain about. One on a local file system costs no
// more than a look at the mounts.
func (c *Checker) Check(path string) error {
	m, err := c.mounts()
	if err != nil || path == "" {
		return err
	}
	if path, err = absolute(path); err != nil {
		return err
	}
	return c.ask(path, m.foreign(path), Limit)
}

// Inside says whether what is below a link-free path can be looked at without
// waiting: neither it nor what is mounted there is of a file system that may not
// answer.
func (c *Checker) Inside(path string) bool {
	m, err := c.mounts()
	if err != nil || m.above(path) != "" {
		return false
	}
	for point := range m {
		if path == "/" || strings.HasPrefix(point, path+"/") {
			return false
		}
	}
	return true
}

// Scan returns what checks many paths, by the mounts of now, and waits for each
// of them only so long. linkFree says that a path has no links in it, so that none
// are looked for.
func (c *Checker) Scan(patience time.Duration) func(path string, linkFree bool) error {
	m, err := c.mounts()
	return func(path string, linkFree bool) error {
		if err != nil {
			return err
		}
		if linkFree {
			return c.ask(path, m.above(path), patience)
		}
		path, err := absolute(path)
		if err != nil {
			return err
		}
		return c.ask(path, m.foreign(path), patience)
	}
}

// Do does with an open file or folder what its file system may never answer: in
// the process, where that is not local, which may be left behind with it. real is
// its link-free path.
func (c *Checker) Do(f *os.File, real string, op hostpath.Op) ([]byte, error) {
	m, err := c.mounts()
	if err != nil {
		return nil, err
	}
	mount := m.above(real)
	if mount == "" {
		return op.Do(f, real)
	}
	// The process opens it through this one's table of files. While it may not
	// have done so the number is no other file's.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	q := &question{mount: mount, since: time.Now(), answered: make(chan struct{}), file: os.NewFile(uintptr(fd), real)}
	if err := c.tell(q, op); err != nil {
		return nil, fmt.Errorf("having something done with %s: %w", real, err)
	}
	if err := c.await(q, real, Limit); err != nil {
		return nil, err
	}
	return q.did.Content, q.did.err()
}

// tell has the process do something.
func (c *Checker) tell(q *question, op hostpath.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ready(); err != nil {
		q.file.Close()
		return err
	}
	c.helper.done++
	key := fmt.Sprint(c.helper.done) // no absolute path
	c.helper.asked[key] = q
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), q.file.Fd())
	return json.NewEncoder(c.helper.paths).Encode(request{Key: []byte(key), Path: []byte(path), Op: &op})
}

// ready has the process be there. The caller holds the lock.
func (c *Checker) ready() (err error) {
	if c.helper == nil {
		c.helper, err = c.start()
	}
	return err
}

// absolute is filepath.Abs for paths in which ".." may follow a link.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	dir, err := os.Getwd()
	return dir + "/" + path, err
}

// ask has a path touched that leads to what is mounted at mount; empty: it is
// local. A path is asked for once: who comes while there is no answer waits for
// that, and not at all where the first one has given up.
func (c *Checker) ask(path, mount string, patience time.Duration) error {
	if mount == "" {
		return nil
	}
	q, owing, err := c.question(path, mount)
	if err != nil {
		return fmt.Errorf("having %s touched: %w", path, err)
	}
	if owing {
		patience = min(patience, brief)
	}
	return c.await(q, path, patience)
}

// await waits for an answer about a path.
func (c *Checker) await(q *question, path string, patience time.Duration) error {
	timer := time.NewTimer(patience - time.Since(q.since))
	defer timer.Stop()
	select {
	case <-q.answered:
		return q.err
	case <-timer.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-q.answered: // in the last moment: nobody would be told
		return q.err
	default:
	}
	q.late = true
	return &fs.PathError{Op: "touch", Path: path, Err: &Silent{q.mount}}
}

// question asks one, unless it is asked already. owing says that there is another
// one about the same mount that was given up.
func (c *Checker) question(path, mount string) (q *question, owing bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ready(); err != nil {
		return nil, false, err
	}
	for _, other := range c.helper.asked {
		owing = owing || other.late && other.mount == mount
	}
	if q := c.helper.asked[path]; q != nil {
		return q, owing, nil
	}
	q = &question{mount: mount, since: time.Now(), answered: make(chan struct{})}
	c.helper.asked[path] = q
	return q, owing, json.NewEncoder(c.helper.paths).Encode(request{Key: []byte(path), Path: []byte(path)})
}

// start starts the process. Whoever reaps this one's children reaps it too.
func (c *Checker) start() (*helper, error) {
	theirs, paths, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	touched, answers, err := os.Pipe()
	if err != nil {
		paths.Close()
		return nil, err
	}
	defer answers.Close()
	cmd := &exec.Cmd{Path: c.exe, Args: []string{Arg0}, Env: []string{}, Dir: "/", Stdin: theirs, Stdout: answers,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		paths.Close()
		touched.Close()
		return nil, err
	}
	_ = cmd.Process.Release()
	h := &helper{paths: paths, asked: map[string]*question{}}
	go c.listen(h, touched)
	return h, nil
}

// errEnded is of questions that nobody will answer.
var errEnded = errors.New("the process that touches host paths has ended")

// listen takes a helper's answers until it ends.
func (c *Checker) listen(h *helper, touched *os.File) {
	defer touched.Close()
	for dec := json.NewDecoder(touched); ; {
		var a answer
		if dec.Decode(&a) != nil {
			break
		}
		c.mu.Lock()
		q := h.asked[string(a.Key)]
		delete(h.asked, string(a.Key))
		q.did = a
		q.end()
		late := q.late
		c.mu.Unlock()
		if late {
			c.late()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.helper = nil
	h.paths.Close()
	for _, q := range h.asked {
		q.err = errEnded
		q.end()
	}
}

// end says that nothing more comes.
func (q *question) end() {
	if q.file != nil {
		q.file.Close()
	}
	close(q.answered)
}

// Main is the process that touches paths and does what may wait: it reads what is
// asked for, and writes what has answered. It returns its exit status when there are no more.
func Main() int {
	var mu sync.Mutex
	enc := json.NewEncoder(os.Stdout)
	for dec := json.NewDecoder(os.Stdin); ; {
		var r request
		if dec.Decode(&r) != nil {
			return 0
		}
		go func() {
			a := r.answer()
			mu.Lock()
			defer mu.Unlock()
			_ = enc.Encode(a) // who is to know may be gone
		}()
	}
}

// answer does what is asked for.
func (r request) answer() answer {
	a := answer{Key: r.Key}
	if r.Op == nil {
		touch(string(r.Path))
		return a
	}
	f, err := os.OpenFile(string(r.Path), unix.O_PATH, 0)
	if err == nil {
		defer f.Close()
		real, _ := os.Readlink(string(r.Path)) // for messages
		a.Content, err = r.Op.Do(f, real)
	}
	if err != nil {
		a.Error = err.Error()
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			a.Errno = int(errno)
		}
	}
	return a
}

// touched is how much is read of a file.
const touched = 1 << 20

// touch asks of a path what others are going to ask.
func touch(path string) {
	info, err := os.Stat(path)
	if err != nil {
		path = filepath.Dir(path) // what is to be made there is made in the folder
		info, err = os.Stat(path)
	}
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
		return
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info.IsDir() {
		_, _ = f.Readdirnames(1)
		return
	}
	chunk := make([]byte, 32<<10)
	for n := 0; n < touched; {
		more, err := f.Read(chunk)
		if err != nil {
			return
		}
		n += more
	}
}
