package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SocketMode is the mode of the API's socket without grants: root, and whom root
// puts into the socket's group.
const SocketMode = 0o660

// maxSocketPath is what the kernel's sockaddr_un takes.
const maxSocketPath = 107

// Listen binds the API's socket at path. A socket that a dead daemon left is
// replaced; one that answers, and a file that is no socket, are refused.
// Closing the listener removes the socket if it is still the listener's own. Who
// has a grant can open it: the socket is given to a group that is alone, and is
// open to everybody where there are more, who are told apart by the Server.
func Listen(path string, grants []Grant) (net.Listener, error) { return ListenOver(path, grants, nil) }

// ListenOver is Listen where somebody may have a socket at path that is no daemon:
// stranger says so of the process that listens there, 0 where that can't be told. It is
// replaced then.
func ListenOver(path string, grants []Grant, stranger func(pid int) bool) (net.Listener, error) {
	if err := CheckFree(path, stranger); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the socket's folder: %w", err)
	}
	// Bound beside its place and renamed into it, so that nobody meets a socket
	// with another mode or one that nobody listens on.
	temp := path + bindSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing a half-made socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("binding the socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	own, err := place(l, temp, path, grants)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("placing the socket: %w", err), l.Close(), os.Remove(temp))
	}
	return &listener{UnixListener: l, path: path, own: own}, nil
}

const bindSuffix = ".new"

// ErrAnswers says that somebody listens who is no stranger.
var ErrAnswers = errors.New("another daemon answers")

// errReplaced says that somebody else can write the folder, and does.
var errReplaced = errors.New("somebody puts something else in its place meanwhile")

// place gives the socket that was bound its mode, owner and place. Whoever can write the
// folder may have put something else there, such as a link: what is changed is the
// object that this process listens on.
func place(l *net.UnixListener, temp, path string, grants []Grant) (os.FileInfo, error) {
	mode := os.FileMode(SocketMode)
	for _, g := range grants {
		if g.GID != grants[0].GID {
			mode = 0o666
		}
	}
	f, err := os.OpenFile(temp, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	object := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if is, err := listensOn(l, object); err != nil || !is {
		return nil, errors.Join(errReplaced, err)
	}
	if len(grants) > 0 {
		if err := os.Chown(object, 0, int(grants[0].GID)); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(object, mode); err != nil {
		return nil, err
	}
	own, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return own, os.Rename(temp, path)
}

// listensOn says whether a listener's socket is the one at path.
func listensOn(l *net.UnixListener, path string) (bool, error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if pid, err := pidOf(conn); err != nil || pid != os.Getpid() {
		return false, err
	}
	// It is taken out again, and who else has found the socket has come too early.
	if err := l.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false, err
	}
	for {
		c, err := l.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil // it is another one of this process's
		}
		if err != nil {
			return false, err
		}
		pid, err := pidOf(c)
		c.Close()
		if err == nil && pid == os.Getpid() {
			return true, l.SetDeadline(time.Time{})
		}
	}
}

// whoListens is the process that listens on a socket.
func whoListens(path string) (pid int, err error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return pidOf(conn)
}

// pidOf is the process at the other end.
func pidOf(conn net.Conn) (pid int, err error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if controlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); controlErr != nil || err != nil {
		return 0, errors.Join(controlErr, err)
	}
	return int(cred.Pid), nil
}

// CheckFree returns nil if nothing is at path, or only what a dead daemon left, or what
// somebody listens on who is a stranger, as ListenOver has it; it is no path that could
// be bound else.
func CheckFree(path string, stranger func(pid int) bool) error {
	if len(path)+len(bindSuffix) > maxSocketPath {
		return fmt.Errorf("the socket's path %s is too long: %d bytes are allowed; choose another with --socket",
			path, maxSocketPath-len(bindSuffix))
	}
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is in the way: it is not a socket; remove it or choose another path with --socket", path)
	}
	pid, err := whoListens(path)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) || stranger != nil && stranger(pid) {
		return nil
	}
	return fmt.Errorf("%w on %s; stop it first or choose another path with --socket", ErrAnswers, path)
}

// listener removes its socket when it is closed.
type listener struct {
	*net.UnixListener
	path string
	own  os.FileInfo
}

// Gone says whether the socket that Listen has made was removed, or moved away,
// and nothing is in its place: nobody can reach the listener any more.
func Gone(l net.Listener) bool {
	own, ok := l.(*listener)
	if !ok {
		return false
	}
	_, err := os.Lstat(own.path)
	return errors.Is(err, os.ErrNotExist)
}

// Placed says whether what is at the path of a listener of Listen's is its own.
func Placed(l net.Listener) bool {
	own, ok := l.(*listener)
	if !ok {
		return true
	}
	st, err := os.Lstat(own.path)
	return err == nil && os.SameFile(st, own.own)
}

// Close stops listening; a socket that somebody else has put in its place
// stays.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if st, serr := os.Lstat(l.path); serr == nil && os.SameFile(st, l.own) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}
