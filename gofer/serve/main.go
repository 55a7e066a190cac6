package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/seccomp"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/fsgofer"
	"gvisor.dev/gvisor/runsc/fsgofer/filter"

	"sandboxer/internal/filters"
)

// Main is the gofer process. It returns the exit status.
func Main() int {
	// gVisor's packages log to stderr, which nobody reads.
	log.SetTarget(&log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}})
	status := os.NewFile(StatusFD, "status")
	wait, err := start(os.NewFile(ConfigFD, "config"), status)
	if err != nil {
		fmt.Fprint(status, err)
		return 1
	}
	if _, err := io.WriteString(status, Ready); err != nil {
		return 1 // whoever started this gofer is gone, and its sockets with it
	}
	status.Close()
	wait()
	return 0
}

// start does everything up to serving. The function that it returns waits
// until every connection has ended.
func start(config, status *os.File) (func(), error) {
	var c Config
	if err := json.NewDecoder(config).Decode(&c); err != nil {
		return nil, fmt.Errorf("reading the gofer's configuration: %w", err)
	}
	config.Close()
	if len(c.Mounts) == 0 {
		return nil, errors.New("a gofer needs at least one mount")
	}
	if err := closeInherited(c.lastFD()); err != nil {
		return nil, err
	}
	if err := enterRoot(c.RootFD); err != nil {
		return nil, err
	}
	relays, err := connect(c.Mounts)
	if err != nil {
		return nil, err
	}
	// Modes arrive with the application's umask already applied.
	unix.Umask(0)
	sockets := slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Sockets })
	capabilities := forFiles
	if sockets {
		capabilities |= forSockets
	}
	if err := dropCapabilities(capabilities); err != nil {
		return nil, err
	}
	if err := installFilter(sockets); err != nil {
		return nil, err
	}
	if c.TakeOverFD != 0 {
		err = succeed(c, relays, status)
	} else {
		err = serveFirst(relays)
	}
	if err != nil {
		return nil, err
	}
	var serving sync.WaitGroup
	for _, r := range relays {
		serving.Go(func() {
			if err := r.run(); err != nil {
				os.Exit(1) // the mount would hang for ever: have another gofer take over
			}
		})
	}
	return serving.Wait, nil
}

// serveFirst begins to serve a container that no gofer has served before.
func serveFirst(relays []*relay) error {
	for _, r := range relays {
		if err := r.journal.load(); err != nil {
			return err
		}
	}
	return nil
}

// succeed says that all is prepared, waits until the last gofer is gone, and
// takes its mounts over.
func succeed(c Config, relays []*relay, status *os.File) error {
	if _, err := io.WriteString(status, Prepared); err != nil {
		return err
	}
	answered, bound, err := told(c)
	if err != nil {
		return err
	}
	for i, r := range relays {
		if err := r.journal.load(); err != nil {
			return err
		}
		if err := r.inherit(bound); err != nil {
			return err
		}
		if err := r.takeOver(answered[i] == Answered); err != nil {
			return fmt.Errorf("taking over %s: %w", c.Mounts[i].Source, err)
		}
	}
	return nil
}

// told waits for what is said about the mounts once the last gofer is gone:
// whether the first request of each was answered, and sockets that the
// container had bound, by their inode numbers.
func told(c Config) (answered []byte, bound map[uint64]int, err error) {
	if err := unix.SetNonblock(c.TakeOverFD, true); err != nil {
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(c.TakeOverFD), "take over")
	defer f.Close()
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	bound = map[uint64]int{}
	for len(answered) < len(c.Mounts) {
		b := make([]byte, 1)
		var fds []int
		if err := readFull(conn, b, &fds); err != nil {
			return nil, nil, err
		}
		if b[0] != Socket {
			answered = append(answered, b[0])
		}
		for _, fd := range fds {
			inode, err := inodeOf(fd)
			if err != nil {
				return nil, nil, err
			}
			bound[inode] = fd
		}
	}
	return answered, bound, nil
}

// closeInherited closes what whoever started this gofer had open and did not
// donate. What this process opens itself is closed at an exec, so what
// survived one shows by that.
func closeInherited(last int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= last {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// FilterOptions are what gVisor's seccomp filter of a gofer is told, which may
// or may not serve sockets of the host.
func FilterOptions(sockets bool) filter.Options {
	return filter.Options{
		DirectFS: true, CgoEnabled: config.CgoEnabled,
		UDSOpenEnabled: sockets, UDSCreateEnabled: sockets,
	}
}

// installFilter installs the program that was built ahead of time, or else has
// gVisor build it, which takes as long as all the rest.
func installFilter(sockets bool) error {
	options := FilterOptions(sockets)
	program, ok := filters.Gofer()[options.ConfigKey()]
	if !ok {
		if err := filter.Install(options); err != nil {
			return fmt.Errorf("installing the seccomp filter: %w", err)
		}
		return nil
	}
	instructions, err := program.RenderInstructions(options.Vars())
	if err != nil {
		return fmt.Errorf("putting the seccomp filter together: %w", err)
	}
	if err := seccomp.SetFilter(instructions); err != nil {
		return fmt.Errorf("installing the seccomp filter: %w", err)
	}
	return nil
}

// connect makes a relay for each mount that faces the sentry. Behind them is one
// lisafs server, which lets no socket of the host through.
func connect(mounts []Mount) ([]*relay, error) {
	server := lisafs.NewServer()
	var relays []*relay
	for i, m := range mounts {
		connection, err := newConnection(server, mountPath(i), m.ReadOnly)
		if err != nil {
			return nil, fmt.Errorf("creating the connection of mount %d: %w", i, err)
		}
		if err := unix.SetNonblock(m.SocketFD, true); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		syscall.CloseOnExec(m.SocketFD)
		syscall.CloseOnExec(m.JournalFD)
		r, err := newRelay(os.NewFile(uintptr(m.SocketFD), "sentry"), os.NewFile(uintptr(m.JournalFD), "journal"), connection)
		if err != nil {
			return nil, err
		}
		if m.Sockets {
			r.sockets = &sockets{path: FDPath, readOnly: m.ReadOnly, bound: map[lisafs.FDID]int{}}
		}
		relays = append(relays, r)
	}
	return relays, nil
}

// newConnection is what lisafs has open for one mount. Nobody will ever ask on
// its socket, whose other end is closed: a relay calls the handlers itself.
func newConnection(server *lisafs.Server, path string, readOnly bool) (*lisafs.Connection, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	unix.Close(pair[1])
	socket, err := unet.NewSocket(pair[0])
	if err != nil {
		return nil, err
	}
	impl := fsgofer.NewConnectionImpl(&fsgofer.Config{DonateMountPointFD: true})
	return server.CreateConnection(socket, path, fsgofer.ConnectionOpts(readOnly), impl)
}
