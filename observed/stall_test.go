package observed_test

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

type mute struct{}

func (mute) Probe(context.Context, observed.Record, []string, bool) (map[string]observed.ContainerState, error) {
	return nil, errors.New("no answer")
}

// Of a sentry that does not answer it is told what keeps it from that.
func TestStall(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	busy, err := observed.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := newRecords(t)
	rec := record("web")
	rec.Sentry = busy
	if err := r.Save(rec); err != nil {
		t.Fatal(err)
	}
	frozen := false
	looker, err := observed.New(observed.Config{Records: r, Prober: mute{},
		CgroupProcs: func(string) ([]int, bool, error) { return nil, false, nil },
		Frozen:      func(path string) (bool, error) { return frozen && path == rec.Cgroup, nil }})
	if err != nil {
		t.Fatal(err)
	}
	look := func(want func(observed.Stall) bool) {
		t.Helper()
		var sb observed.Sandbox
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if sb, err = looker.Look(context.Background(), "web"); err == nil && sb.Unresponsive && want(sb.Stall) {
				return
			}
		}
		t.Errorf("%+v, %v", sb, err)
	}
	look(func(s observed.Stall) bool { return s.Ran > 20*time.Millisecond && !s.Stopped && !s.Frozen })
	frozen = true
	look(func(s observed.Stall) bool { return s.Frozen && !s.Stopped })
	frozen = false
	if err := busy.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	look(func(s observed.Stall) bool { return s.Stopped && !s.Frozen })
	if err := busy.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		sb, err := looker.Look(context.Background(), "web")
		if err == nil && sb.Sentry == observed.Gone && !sb.Unresponsive && sb.Stall == (observed.Stall{}) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, %v", sb, err)
		}
	}
}
