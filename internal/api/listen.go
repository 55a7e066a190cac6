package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
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
func Listen(path string, grants []Grant) (net.Listener, error) {
	if len(path)+len(bindSuffix) > maxSocketPath {
		return nil, fmt.Errorf("the socket's path %s is too long: %d bytes are allowed; choose another with --socket",
			path, maxSocketPath-len(bindSuffix))
	}
	if err := checkFree(path); err != nil {
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
	st, err := place(temp, path, grants)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("placing the socket: %w", err), l.Close(), os.Remove(temp))
	}
	return &listener{UnixListener: l, path: path, own: st}, nil
}

const bindSuffix = ".new"

func place(temp, path string, grants []Grant) (os.FileInfo, error) {
	mode := os.FileMode(SocketMode)
	for _, g := range grants {
		if g.GID != grants[0].GID {
			mode = 0o666
		}
	}
	if len(grants) > 0 {
		if err := os.Chown(temp, 0, int(grants[0].GID)); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(temp, mode); err != nil {
		return nil, err
	}
	st, err := os.Lstat(temp)
	if err != nil {
		return nil, err
	}
	return st, os.Rename(temp, path)
}

// checkFree returns nil if nothing is at path or only what a dead daemon left.
func checkFree(path string) error {
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
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("another daemon answers on %s; stop it first or choose another path with --socket", path)
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

// Close stops listening; a socket that somebody else has put in its place
// stays.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if st, serr := os.Lstat(l.path); serr == nil && os.SameFile(st, l.own) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}
