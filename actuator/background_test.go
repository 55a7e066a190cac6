package actuator

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/observed"
)

// What goes on beside the loop is told, with its sandbox and since when.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		a := &Actuator{c: Config{Poke: func(string) {}}, background: ctx, cancel: cancel,
			hooks: map[hooked]*hooking{}, preStops: map[string]*preStopping{}, freezing: map[observed.Process]*telling{},
			silences: map[string]silence{}, waiters: map[string]*waiter{}}
		if list, held := a.Background(); len(list) != 0 || held != (Held{}) {
			t.Errorf("nothing goes on: %v, %v", list, held)
		}
		began := time.Now()
		rec := observed.ContainerRecord{Sandbox: "web", Name: "app", ID: "web.app.1"}
		over := make(chan struct{})
		a.beside(rec, func(context.Context) { <-over })
		time.Sleep(time.Second)
		a.beside(rec, func(context.Context) {})
		a.mu.Lock()
		a.preStops["web.app.1"] = &preStopping{sandbox: "web", container: "app", since: began}
		a.preStops["web.app.0"] = &preStopping{sandbox: "web", container: "app", over: true}
		a.freezing[observed.Process{PID: 7}] = &telling{true, "db", began}
		a.silences["db.a.1"] = silence{sandbox: "db", container: "a", since: began}
		a.waiters["web.app.1"] = &waiter{rec: rec}
		failed := observed.ContainerRecord{Sandbox: "web", Name: "bad", StartedAt: began}
		a.waiters["web.bad.1"] = &waiter{rec: failed, failed: true}
		a.mu.Unlock()
		list, held := a.Background()
		want := []Background{
			{"db", "", "pause", began}, {"db", "a", "a gofer that answers nobody", began},
			{"web", "app", "hooks", began}, {"web", "app", "hooks", began.Add(time.Second)}, {"web", "app", "preStop", began},
			{"web", "bad", "waiting for its end anew, which failed", began},
		}
		if !slices.Equal(list, want) || held != (Held{Waits: 2}) {
			t.Errorf("%+v, %+v", list, held)
		}
		close(over)
		synctest.Wait()
		if list, _ := a.Background(); slices.ContainsFunc(list, func(b Background) bool { return b.What == "hooks" }) {
			t.Errorf("hooks are over: %v", list)
		}
		cancel()
	})
}
