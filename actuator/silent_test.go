package actuator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/gofer"
	"sandboxer/observed"
)

// keptFiles are what might be kept of a gofer that was asked nothing yet.
func keptFiles(t *testing.T) gofer.Kept {
	t.Helper()
	journal := filepath.Join(t.TempDir(), "journal")
	check(t, os.WriteFile(journal, make([]byte, 1<<16), 0o600))
	j, err := os.Open(journal)
	check(t, err)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(fds[1]) })
	return gofer.Kept{Sockets: []*os.File{os.NewFile(uintptr(fds[0]), "socket")}, Journals: []*os.File{j}}
}

// A gofer of which all is let go while it is looked at is not silent, and the look
// has not failed.
func TestSilentWhileLetGo(t *testing.T) {
	self, err := observed.Identify(os.Getpid())
	check(t, err)
	rec := observed.ContainerRecord{ID: "s.app.1", Gofer: self}
	for range 200 {
		a := &Actuator{gofers: map[string]gofer.Kept{rec.ID: keptFiles(t)}, silences: map[string]silence{}, waiters: map[string]*waiter{rec.ID: {}}}
		kept := a.gofers[rec.ID]
		var both sync.WaitGroup
		both.Go(func() { a.release(rec.ID) })
		for range 3 {
			if silent, err := a.Silent(observed.Record{}, rec); silent || err != nil {
				t.Fatalf("silent: %v, %v", silent, err)
			}
		}
		both.Wait()
		if _, _, err := kept.Waiting(); !errors.Is(err, os.ErrClosed) {
			t.Fatalf("of what is closed: %v", err)
		}
	}
}

// What is to be done later is not done any more after Close.
func TestNothingIsLaterThanClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Actuator{}
		a.background, a.cancel = context.WithCancel(t.Context())
		done := 0
		a.later(time.Second, func() { done++ })
		a.later(3*time.Second, func() { done += 10 })
		time.Sleep(2 * time.Second)
		a.Close()
		time.Sleep(2 * time.Second)
		if done != 1 {
			t.Errorf("done: %d, want what was due before Close and no more", done)
		}
	})
}
