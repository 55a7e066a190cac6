package status

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"sandboxer/internal/api"
)

func item(name string, phase api.Phase) api.Sandbox {
	return api.Sandbox{Name: name, Status: api.Status{Phase: phase}}
}

func names(list []api.Sandbox) string {
	var out []string
	for _, s := range list {
		out = append(out, s.Name+"="+string(s.Status.Phase))
	}
	return strings.Join(out, " ")
}

func TestBoard(t *testing.T) {
	b := NewBoard()
	b.Set(item("web", api.Running))
	b.Set(item("db", api.Pending))
	b.SetRejected([]api.Sandbox{item("db", api.Invalid), item("x.yaml", api.Invalid)})
	if got := names(b.List()); got != "db=Pending web=Running x.yaml=Invalid" {
		t.Errorf("all: %s", got)
	}
	if got := names(b.Rejected()); got != "db=Invalid x.yaml=Invalid" {
		t.Errorf("rejected: %s", got)
	}
	b.Delete("db")
	b.Delete("db")
	if s, ok := b.Get("db"); !ok || s.Status.Phase != api.Invalid {
		t.Errorf("what is rejected shows once nothing is left: %v %v", s, ok)
	}
	b.SetRejected(nil)
	if _, ok := b.Get("db"); ok {
		t.Error("db is still there")
	}
}

// watched follows a board; what is seen is a line per round of sends.
func watched(ctx context.Context, b *Board, hold <-chan struct{}) (seen *[]string, ended *error) {
	seen, ended = new([]string), new(error)
	go func() {
		*ended = b.Watch(ctx, "", func(c api.Change) error {
			if hold != nil {
				<-hold
			}
			*seen = append(*seen, fmt.Sprintf("%s=%s%v", c.Name, c.Status.Phase, c.Deleted))
			return nil
		})
	}()
	return seen, ended
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard()
		b.Set(item("web", api.Pending))
		b.Set(item("db", api.Running))
		ctx, cancel := context.WithCancel(t.Context())
		seen, ended := watched(ctx, b, nil)
		synctest.Wait()
		b.Set(item("db", api.Running)) // as before: wakes nobody
		b.Set(item("web", api.Running))
		synctest.Wait()
		b.SetRejected([]api.Sandbox{item("x", api.Invalid)})
		b.SetRejected([]api.Sandbox{item("x", api.Invalid)})
		synctest.Wait()
		b.SetRejected(nil)
		b.Delete("db")
		synctest.Wait()
		cancel()
		synctest.Wait()
		want := "db=Runningfalse web=Pendingfalse web=Runningfalse x=Invalidfalse db=true x=true"
		if got := strings.Join(*seen, " "); got != want || !errors.Is(*ended, context.Canceled) {
			t.Errorf("got  %s (%v)\nwant %s", got, *ended, want)
		}
		if len(b.watchers) != 0 {
			t.Error("the watcher is still known")
		}
	})
}

// Who watches one name is told first how it is, also that there is none, so
// that no moment is missed in which it goes.
func TestWatchOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard()
		b.Set(item("web", api.Running))
		b.Set(item("db", api.Running))
		var seen []string
		for _, name := range []string{"web", "gone"} {
			go func() {
				_ = b.Watch(t.Context(), name, func(c api.Change) error {
					seen = append(seen, fmt.Sprintf("%s=%s%v", c.Name, c.Status.Phase, c.Deleted))
					return nil
				})
			}()
			synctest.Wait()
		}
		b.Delete("db")
		b.Delete("web")
		synctest.Wait()
		b.Set(item("gone", api.Pending))
		synctest.Wait()
		if got, want := strings.Join(seen, " "), "web=Runningfalse gone=true web=true gone=Pendingfalse"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// A watcher that does not read costs nobody anything, and sees the latest of
// each once it reads.
func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard()
		b.Set(item("web", api.Pending))
		hold := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		seen, _ := watched(ctx, b, hold)
		synctest.Wait()
		for i := range 1000 {
			b.Set(item("web", api.Phase(fmt.Sprint(i))))
			b.Set(item("gone", api.Phase(fmt.Sprint(i))))
		}
		b.Delete("gone")
		close(hold)
		synctest.Wait()
		if got := strings.Join(*seen, " "); got != "web=Pendingfalse gone=true web=999false" {
			t.Errorf("got %s", got)
		}
		full := errors.New("full")
		if err := b.Watch(t.Context(), "", func(api.Change) error { return full }); err != full {
			t.Errorf("a send that fails: %v", err)
		}
		cancel()
	})
}
