package serve

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// rootID is the number of a mount's root: the first that a server gives out.
const rootID = lisafs.InvalidFDID + 1

// generationBits leaves each gofer 2^40 numbers before the next one's begin.
const generationBits = 40

// ErrOtherObject says that a mount's source is not the object any more that
// the sentry works on.
var ErrOtherObject = errors.New("the source is another file or directory by now")

// takeOver makes this gofer's server for a mount what the earlier gofer's was
// to the sentry: the root and every path that the sentry holds a number of get
// the same numbers again, and later ones are new to the sentry. It then
// settles what became of the request that was being answered. Nothing is
// relayed before.
func (r *relay) takeOver(served *lisafs.Connection, generation int, waiting bool) error {
	numbers := nextNumber(served)
	if err := r.mountAgain(); err != nil {
		return err
	}
	// Helpers of the walks get numbers that no gofer gives out.
	scratch := lisafs.FDID(1) << 62
	ids := slices.Sorted(maps.Keys(r.journal.open))
	for _, id := range ids {
		if !r.walkAgain(numbers, id, r.journal.open[id], scratch) {
			// What is gone, or was renamed by somebody else, answers EBADF.
			if err := r.journal.closed(id); err != nil {
				return err
			}
		}
	}
	*numbers = lisafs.FDID(generation) << generationBits
	return r.settle(waiting)
}

// nextNumber gives access to the number that a server gives out next, which
// lisafs keeps to itself. It is changed only while the server waits for us.
func nextNumber(served *lisafs.Connection) *lisafs.FDID {
	field := reflect.ValueOf(served).Elem().FieldByName("nextFDID")
	if !field.IsValid() || field.Type() != reflect.TypeFor[lisafs.FDID]() {
		panic("gofer: lisafs.Connection keeps its numbers in another way")
	}
	return (*lisafs.FDID)(unsafe.Pointer(field.UnsafeAddr()))
}

// ask sends the server a request of our own and returns its answer.
func (r *relay) ask(request []byte) ([]byte, error) {
	if err := send(r.inner, request, nil); err != nil {
		return nil, err
	}
	answer, fds, err := r.receive()
	closeAll(fds)
	if err != nil {
		return nil, err
	}
	if messageID(answer) != messageID(request) {
		return nil, fmt.Errorf("request %d was refused", messageID(request))
	}
	return answer[headerSize:], nil
}

func (r *relay) mountAgain() error {
	answer, err := r.ask(mountRequest())
	if err != nil {
		return fmt.Errorf("mounting again: %w", err)
	}
	var m lisafs.MountResp
	if _, ok := m.CheckedUnmarshal(answer); !ok || m.Root.ControlFD != rootID {
		return errors.New("mounting again: the root has another number")
	}
	if h := r.journal.head; h.device != device(m.Root) || h.inode != m.Root.Stat.Ino {
		return ErrOtherObject
	}
	return nil
}

// walkAgain has the server open a path under the number id. It reports false
// where that can't be done.
func (r *relay) walkAgain(numbers *lisafs.FDID, id lisafs.FDID, names []string, scratch lisafs.FDID) bool {
	dir := rootID
	var helpers []lisafs.FDID
	if parents := names[:len(names)-1]; len(parents) > 0 {
		*numbers = scratch
		var ok bool
		if helpers, ok = r.walk(rootID, parents); ok {
			dir = helpers[len(helpers)-1]
		} else {
			dir = lisafs.InvalidFDID
		}
	}
	done := false
	if dir != lisafs.InvalidFDID {
		*numbers = id
		got, ok := r.walk(dir, names[len(names)-1:])
		done = ok && got[0] == id
	}
	if len(helpers) > 0 {
		if _, err := r.ask(closeRequest(helpers)); err != nil {
			return false
		}
	}
	return done
}

// walk reports false unless every name was found.
func (r *relay) walk(dir lisafs.FDID, names []string) ([]lisafs.FDID, bool) {
	answer, err := r.ask(walkRequest(dir, names))
	if err != nil {
		return nil, false
	}
	var w lisafs.WalkResp
	if _, ok := w.CheckedUnmarshal(answer); !ok {
		return nil, false
	}
	ids := make([]lisafs.FDID, len(w.Inodes))
	for i, inode := range w.Inodes {
		ids[i] = inode.ControlFD
	}
	return ids, len(ids) == len(names) && w.Status == lisafs.WalkSuccess
}

// settle deals with a request whose answer was being sent when the earlier
// gofer ended. Had the answer been sent, the sentry does not wait for it any
// more, and the request must not be answered again.
func (r *relay) settle(waiting bool) error {
	if r.journal.head.sending == 0 {
		return nil
	}
	if !waiting {
		request, err := r.peekNow()
		if err != nil {
			return err
		}
		if len(request) > 0 {
			if err := r.consume(len(request)); err != nil {
				return err
			}
		}
	}
	return r.journal.setSending(false)
}

// peekNow returns the request that waits, or nothing.
func (r *relay) peekNow() ([]byte, error) {
	var ready bool
	err := r.outer.Control(func(fd uintptr) {
		var now unix.Timespec
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, perr := retry(func() (int, error) { return unix.Ppoll(events, &now, nil) })
		ready = perr == nil && n > 0 && events[0].Revents&unix.POLLIN != 0
	})
	if err != nil || !ready {
		return nil, err
	}
	return r.peek()
}
