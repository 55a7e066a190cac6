package actuator

import (
	"errors"
	"slices"
	"testing"

	"sandboxer/internal/shelf"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// The record of a container that this daemon knows is what it knows, and the end of one,
// if that was recorded since the record was found to be lost, stays.
func TestRecordOfKnown(t *testing.T) {
	r := newRig(t)
	rec := running(r, "s", 1)
	i := instance{id: rec.ID, name: rec.Name, attempt: 1}
	ended := rec
	ended.State, ended.Exit = observed.Stopped, &observed.Exit{Code: 7}
	check(t, r.c.Records.SaveContainer(ended))
	check(t, r.rebuildContainer(observed.Record{Name: "s"}, i))
	if got := r.container("s", "app"); got.Exit == nil || got.Exit.Code != 7 || got.State != observed.Stopped {
		t.Errorf("its end was undone: %+v", got)
	}
	rec.Sent = []int{15}
	r.waiters[rec.ID] = &waiter{cancel: func() {}, rec: rec}
	defer delete(r.waiters, rec.ID)
	got, known, err := r.saveKnown(rec.ID)
	check(t, err)
	if !known || !slices.Equal(got.Sent, rec.Sent) || !slices.Equal(r.container("s", "app").Sent, rec.Sent) {
		t.Errorf("known %t: %+v, and on record %+v", known, got, r.container("s", "app"))
	}
}

// A container or gofer that can't be started leaves no trees in its sandbox.
func TestNoTreesLeft(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("web", app(t, "sleep")))
	r.run(d)
	rec := r.record("web")
	before, err := shelf.IDs(rec.Sentry)
	check(t, err)
	asked, failure := 0, errors.New("claims can't be read")
	claims := r.c.Claims
	r.c.Claims = func() (string, error) {
		if asked++; asked > 1 {
			return "", failure
		}
		return "", nil
	}
	if _, _, err := r.put(rec.Sentry, "web.volumes.0", nil); !errors.Is(err, failure) {
		t.Errorf("it is put there: %v", err)
	}
	r.c.Claims = claims
	rec.Cgroup += "/none"
	if err := r.startOpened(&rec, observed.ContainerRecord{ID: "web.volumes.1"}, nil, nil); err == nil {
		t.Error("a gofer was started")
	}
	if after, err := shelf.IDs(rec.Sentry); err != nil || !slices.Equal(after, before) {
		t.Errorf("there are %q, %v, and before %q", after, err, before)
	}
}
