package gofer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/gofer/serve"
	"sandboxer/observed"
)

// IDOf is the ID of the container whose gofer or keeper was started with that
// command line; empty: it is neither.
func IDOf(args []string) (id string, keeper bool) {
	switch {
	case len(args) > 1 && args[0] == Arg0:
		return args[1], false
	case len(args) > 0 && strings.HasPrefix(args[0], KeeperArg0):
		return strings.TrimPrefix(args[0], KeeperArg0), true
	}
	return "", false
}

// Find is Take for who does not know how many mounts a gofer or keeper has.
func Find(p observed.Process) (Kept, error) {
	dir, err := p.OpenDir()
	if err != nil {
		return Kept{}, err
	}
	defer dir.Close()
	mounts := 0
	for {
		is, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d/fd/%s", dir.Fd(), strconv.Itoa(firstFD+2*mounts+1)))
		switch {
		case errors.Is(err, unix.ESRCH):
			return Kept{}, observed.ErrGone
		case err != nil && !errors.Is(err, unix.ENOENT):
			return Kept{}, err
		case err != nil || !strings.HasPrefix(is, "/memfd:"+journalName):
			if mounts == 0 {
				return Kept{}, fmt.Errorf("process %d has no journal", p.PID)
			}
			return Take(p, Kept{}.Number(make([]serve.Mount, mounts)))
		}
		mounts++
	}
}

// Note keeps something of the container's beside what is kept; see Noted.
func (k Kept) Note(note []byte) error { return serve.WriteNote(k.Journals[0], note) }

// Noted is what was noted last; empty: nothing was.
func (k Kept) Noted() ([]byte, error) { return serve.ReadNote(k.Journals[0]) }
