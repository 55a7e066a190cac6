package sentry

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	gvsync "gvisor.dev/gvisor/pkg/sync"
)

// RevokeSink names what takes files of the host from applications that have them
// open: a sink, in gVisor's words, of a trace session that traces nothing. Its
// configuration is Revoke. What was opened stays open whatever is mounted over it
// later: with directfs by the sentry itself.
const RevokeSink = "sandboxer-revoke"

// Revoke is one of three orders. The first stops all tasks, so that nothing is
// opened while somebody outside looks at what is open: for HoldTime at most,
// whatever becomes of who gave it. The second, for stopped ones, has descriptors be
// of something else. The third lets the tasks go on, and fails where that had
// happened already.
type Revoke struct {
	Stop bool `json:"stop,omitempty"`
	// Take are descriptors of directories and of regular files. The file that comes
	// along is a directory that holds what they are of then, Directory and File.
	Take      []Descriptor `json:"take,omitempty"`
	Directory string       `json:"directory,omitempty"`
	File      string       `json:"file,omitempty"`
	// Mapped has all that is mapped be mapped again when it is used, from
	// what the descriptors are of by then.
	Mapped bool `json:"mapped,omitempty"`
	Go     bool `json:"go,omitempty"`
}

// Descriptor is one of the sentry's, while it is of the object that stat knows so.
type Descriptor struct {
	Number     int
	Dev, Inode uint64
}

// HoldTime is how long tasks are stopped at most, and stopTime how long it may
// take to stop them.
const (
	HoldTime = 5 * time.Second
	stopTime = time.Second
)

// ErrHeld is the text of the error for who comes while another one has the tasks
// stopped.
const ErrHeld = "the tasks are stopped for somebody else"

// revoker carries them out.
type revoker struct {
	meter *meter

	mu   sync.Mutex
	held *time.Timer // lets the tasks go on; nil: they do
}

// set is the sink's constructor.
func (r *revoker) set(config map[string]any, from *fd.FD) (seccheck.Sink, error) {
	if from != nil {
		defer from.Close()
	}
	b, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	var order Revoke
	if err := json.Unmarshal(b, &order); err != nil {
		return nil, err
	}
	k := r.meter.kernel.Load()
	if k == nil {
		return nil, errors.New("no task was ever made")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case order.Stop:
		return sink{}, r.stop(k)
	case r.held == nil:
		return nil, errors.New("the tasks are not stopped")
	case order.Go:
		r.release(k)
		return sink{}, nil
	}
	return sink{}, take(k, order, from)
}

// stop stops all tasks, unlike gVisor's pause only if all can be: one may wait for a
// file system that does not answer.
func (r *revoker) stop(k *kernel.Kernel) error {
	if r.held != nil {
		return errors.New(ErrHeld)
	}
	external(k, k.TaskSet().BeginExternalStop)
	for deadline := time.Now().Add(stopTime); !stopped(k); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			external(k, k.TaskSet().EndExternalStop)
			return errors.New("a task can't be stopped")
		}
	}
	var own *time.Timer
	own = time.AfterFunc(HoldTime, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.held == own {
			r.release(k)
		}
	})
	r.held = own
	return nil
}

func (r *revoker) release(k *kernel.Kernel) {
	r.held.Stop()
	r.held = nil
	external(k, k.TaskSet().EndExternalStop)
}

// external does what is not to happen while a checkpoint is written, or a process made
// from outside.
func external(k *kernel.Kernel, do func()) {
	mu := member[gvsync.Mutex](k, "extMu")
	mu.Lock()
	defer mu.Unlock()
	do()
}

// stopped says whether no task runs. One that is made begins as a stopped one.
func stopped(k *kernel.Kernel) bool {
	for _, t := range k.RootPIDNamespace().Tasks() {
		if s := t.TaskGoroutineState(); s != kernel.TaskGoroutineStopped && s != kernel.TaskGoroutineNonexistent {
			return false
		}
	}
	return true
}

// take puts something else in the place of descriptors: gVisor has their numbers, and
// panics where one is of another type than it was.
func take(k *kernel.Kernel, order Revoke, from *fd.FD) error {
	if from == nil {
		return errors.New("nothing to put in the place of descriptors")
	}
	var unmapped error
	if order.Mapped { // while what has to be written back can be
		unmapped = unmap(k)
	}
	instead := map[uint32]int{}
	for kind, name := range map[uint32]string{unix.S_IFDIR: order.Directory, unix.S_IFREG: order.File} {
		n, err := unix.Openat(from.FD(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening what is to be there instead: %w", err)
		}
		defer unix.Close(n)
		instead[kind] = n
	}
	var failed error
	external(k, func() { failed = put(instead, order.Take) })
	return errors.Join(unmapped, failed)
}

// put puts others in the place of descriptors. Nobody closes one between its two system
// calls, so that the number would be another one's: the tasks are stopped, and who makes a
// process from outside, which opens files, waits for the caller.
func put(instead map[uint32]int, take []Descriptor) error {
	for _, d := range take {
		var st unix.Stat_t
		if err := unix.Fstat(d.Number, &st); err != nil || st.Dev != d.Dev || st.Ino != d.Inode {
			continue // it was closed
		}
		if n, ok := instead[st.Mode&unix.S_IFMT]; ok {
			if err := unix.Dup3(n, d.Number, unix.O_CLOEXEC); err != nil {
				return fmt.Errorf("dup3: %w", err)
			}
		}
	}
	return nil
}

// unmap does what gVisor does before a checkpoint: what is mapped of files is looked
// for again when it is used.
func unmap(k *kernel.Kernel) error {
	var memories []*mm.MemoryManager
	k.TaskSet().ForEachThreadGroup(func(_ *kernel.ThreadGroup, leader *kernel.Task) {
		if leader != nil && leader.MemoryManager() != nil {
			memories = append(memories, leader.MemoryManager())
		}
	})
	var errs []error
	for _, m := range memories {
		errs = append(errs, m.InvalidateUnsavable(k.SupervisorContext()))
	}
	return errors.Join(errs...)
}
