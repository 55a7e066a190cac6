package observed_test

import (
	"context"
	"errors"
	"testing"

	"sandboxer/observed"
)

// prober answers through a function.
type prober func(ctx context.Context, r observed.Record, ids []string, now bool) (map[string]observed.ContainerState, error)

func (p prober) Probe(ctx context.Context, r observed.Record, ids []string, now bool) (map[string]observed.ContainerState, error) {
	return p(ctx, r, ids, now)
}

// all says the same of every container.
func all(s observed.ContainerState) prober {
	return func(_ context.Context, _ observed.Record, ids []string, now bool) (map[string]observed.ContainerState, error) {
		states := map[string]observed.ContainerState{}
		for _, id := range ids {
			states[id] = s
		}
		return states, nil
	}
}

// unasked fails the test if the runtime is asked.
func unasked(t *testing.T) prober {
	return func(context.Context, observed.Record, []string, bool) (map[string]observed.ContainerState, error) {
		t.Error("the runtime was asked")
		return nil, nil
	}
}

// world is a sandbox called web with a sentry, one more process below it, and
// two containers with gofers, all played by sleep.
type world struct {
	records                *observed.Records
	rec                    observed.Record
	containers             []observed.ContainerRecord
	sentry, stub           observed.Process
	appGofer, sideGofer    observed.Process
	endSentry, endAppGofer func()
	config                 observed.Config
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{}
	w.records, _ = newRecords(t)
	w.sentry, w.endSentry = child(t)
	w.stub, _ = child(t)
	w.appGofer, w.endAppGofer = child(t)
	w.sideGofer, _ = child(t)
	w.rec = record("web")
	w.rec.Sentry = w.sentry
	app, side := containerRecord("web", "app"), containerRecord("web", "side")
	for _, c := range []*observed.ContainerRecord{&app, &side} {
		c.State, c.Exit = observed.Running, nil
	}
	app.Gofer, side.Gofer = w.appGofer, w.sideGofer
	w.containers = []observed.ContainerRecord{app, side}
	w.save(t)
	w.config = observed.Config{
		Records: w.records,
		Prober:  all(observed.Running),
		CgroupProcs: func(path string) ([]int, bool, error) {
			if path != "/sandboxer/web" {
				return nil, false, nil
			}
			return []int{w.sentry.PID, w.stub.PID, w.appGofer.PID, w.sideGofer.PID}, true, nil
		},
	}
	return w
}

func (w *world) save(t testing.TB) {
	t.Helper()
	err := w.records.Save(w.rec)
	for _, c := range w.containers {
		err = errors.Join(err, w.records.SaveContainer(c))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) looker(t testing.TB) *observed.Looker {
	t.Helper()
	l, err := observed.New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) look(t testing.TB) observed.Sandbox {
	t.Helper()
	sb, err := w.looker(t).Look(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	return sb
}

func states(sb observed.Sandbox) []observed.ContainerState {
	var s []observed.ContainerState
	for _, c := range sb.Containers {
		s = append(s, c.State)
	}
	return s
}
