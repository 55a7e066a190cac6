package api

import (
	"net"
	"net/http"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// How many connections there may be at once: each takes a descriptor of the
// daemon's, whether or not a request ever comes. Those that became a session have
// a bound of their own.
const (
	maxConnections       = 1024 // of root and the daemon's user together
	maxConnectionsOther  = 256  // of another user
	maxConnectionsOthers = 1024 // of all others together
)

// connections counts them, by the user at the other end.
type connections struct {
	mu     sync.Mutex
	users  map[net.Conn]uint32
	of     map[uint32]int
	own    int // root's and the daemon's user's
	others int
}

// note is an http.Server's ConnState. A connection that is too many is closed at
// once.
func (n *connections) note(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !n.enter(c) {
			c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		n.leave(c)
	case http.StateActive, http.StateIdle:
	}
}

func (n *connections) enter(c net.Conn) bool {
	user, err := userOf(c)
	if err != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users == nil {
		n.users, n.of = map[net.Conn]uint32{}, map[uint32]int{}
	}
	n.users[c] = user
	n.of[user]++
	if trusted(user) {
		n.own++
		return n.own <= maxConnections
	}
	n.others++
	return n.of[user] <= maxConnectionsOther && n.others <= maxConnectionsOthers
}

func (n *connections) leave(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	user, ok := n.users[c]
	if !ok {
		return
	}
	delete(n.users, c)
	if n.of[user]--; n.of[user] == 0 {
		delete(n.of, user)
	}
	if trusted(user) {
		n.own--
	} else {
		n.others--
	}
}

func trusted(user uint32) bool { return user == 0 || int(user) == os.Geteuid() }

// userOf is the user who has connected, as the kernel tells it.
func userOf(c net.Conn) (user uint32, err error) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return 0, net.UnknownNetworkError(c.LocalAddr().Network())
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			user = cred.Uid
		}
	})
	if controlErr != nil {
		return 0, controlErr
	}
	return user, err
}
