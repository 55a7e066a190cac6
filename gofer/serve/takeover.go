package serve

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// generationBits leaves each gofer 2^40 numbers before the next one's begin.
const generationBits = 40

// scratch is the first of the numbers that helpers of a take-over have, which
// no gofer gives out.
const scratch = lisafs.FDID(1) << 62

// ErrOtherObject says that a mount's source is not the object any more that
// the sentry works on.
var ErrOtherObject = errors.New("the source is another file or directory by now")

// takeOver makes this gofer's server for a mount what the earlier gofer's was
// to the sentry: the root and every object that the sentry holds a number of
// get the same numbers again, and later ones are new to the sentry. Before, it
// settles what became of the request that was under way; answered says that
// the sentry has the answer to the one that waits first. Nothing is relayed
// meanwhile. This gofer, too, may be killed at any moment of it.
func (r *relay) takeOver(answered bool) error {
	if err := r.settle(answered); err != nil {
		return err
	}
	if r.journal.root() == lisafs.InvalidFDID {
		return nil // the sentry has not mounted yet
	}
	// Whatever numbers an earlier gofer gave out, noted or not, even one that
	// never came to serve: this one's are others.
	r.journal.nextGeneration()
	if err := r.mountAgain(); err != nil {
		return err
	}
	for id, o := range r.journal.open {
		if err := r.walkAgain(id, o); err != nil {
			return fmt.Errorf("opening again what the sentry has: %w", err)
		}
	}
	setNextNumber(r.connection, r.journal.generation()<<generationBits)
	return nil
}

// settle deals with the request that was under way when the earlier gofer
// ended. It waits first in the socket, unless it was taken out. A sentry asks
// again only once it has an answer, so where another request waits behind it,
// it was answered.
func (r *relay) settle(answered bool) error {
	state := r.journal.progress().state
	if state == 0 {
		return nil
	}
	var more bool
	var err error
	if r.request, more, err = r.peek(false); err != nil {
		return err
	}
	if len(r.request) == 0 {
		r.journal.settled()
		return nil
	}
	if state&(stateSending|stateSent) != 0 && (answered || more) {
		if err := r.consume(); err != nil {
			return err
		}
		r.journal.settled()
		return nil
	}
	if state&stateSending != 0 {
		if err := r.journal.void(); err != nil {
			return err
		}
	}
	if state&stateOnce != 0 {
		r.reply = errorReply(unix.EIO)
		return r.exchange(r.answer())
	}
	r.journal.settled() // it is carried out, be it again
	return nil
}

// must has a request of our own carried out and returns its answer.
func (r *relay) must(request []byte) ([]byte, error) {
	answer, fds := r.ask(request)
	closeAll(fds)
	if messageID(answer) != messageID(request) {
		return nil, fmt.Errorf("request %d was refused", messageID(request))
	}
	return answer[headerSize:], nil
}

func (r *relay) mountAgain() error {
	root := r.journal.root()
	setNextNumber(r.connection, root)
	answer, err := r.must(emptyMessage(lisafs.Mount))
	if err != nil {
		return fmt.Errorf("mounting again: %w", err)
	}
	var m lisafs.MountResp
	if _, ok := m.CheckedUnmarshal(answer); !ok || m.Root.ControlFD != root {
		return errors.New("mounting again: the root has another number")
	}
	if o, _ := r.journal.object(root); o.device != device(m.Root) || o.inode != m.Root.Stat.Ino {
		return ErrOtherObject
	}
	return nil
}

// walkAgain has the server open an object under the number id. Where it is not
// at its path any more nothing has that number: the sentry is told EBADF.
func (r *relay) walkAgain(id lisafs.FDID, o object) error {
	dir, last := r.journal.root(), len(o.names)-1
	parents := r.walk(scratch, dir, o.names[:last])
	var spent []lisafs.FDID
	for _, inode := range parents {
		dir = inode.ControlFD
		spent = append(spent, dir)
	}
	if len(parents) == last {
		for _, inode := range r.walk(id, dir, o.names[last:]) {
			if device(inode) != o.device || inode.Stat.Ino != o.inode {
				spent = append(spent, inode.ControlFD)
			}
		}
	}
	if len(spent) == 0 {
		return nil
	}
	_, err := r.must(closeRequest(spent))
	return err
}

// walk returns what was found, numbered from first, up to the first name that
// was not.
func (r *relay) walk(first, dir lisafs.FDID, names []string) []lisafs.Inode {
	if len(names) == 0 {
		return nil
	}
	setNextNumber(r.connection, first)
	return r.walkTo(dir, names)
}

// walkTo returns what was found up to the first name that was not.
func (r *relay) walkTo(dir lisafs.FDID, names []string) []lisafs.Inode {
	answer, _ := r.ask(walkRequest(dir, names))
	var w lisafs.WalkResp
	if messageID(answer) == lisafs.Walk {
		w.CheckedUnmarshal(answer[headerSize:])
	}
	return w.Inodes
}
