package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// A stop signal is sent by the name that manifests have for it, real-time
// signals too, which the kernel has no names for.
func TestStopSignals(t *testing.T) {
	r := newRig(t)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	check(t, err)
	defer l.Close()
	asked := make(chan boot.SignalArgs, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var request struct{ Arg boot.SignalArgs }
			if json.NewDecoder(conn).Decode(&request) == nil {
				asked <- request.Arg
				_, _ = io.WriteString(conn, `{"success": true}`)
			}
			conn.Close()
		}
	}()
	running(r, "s", 1)
	check(t, r.c.Records.Save(observed.Record{Name: "s", State: observed.SandboxUp, Cgroup: r.cgroupPath("s"), ControlSocket: socket}))
	for name, number := range map[string]int32{"SIGTERM": 15, "SIGUSR1": 10, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "SIGRTMIN+30": 64} {
		check(t, r.do(plan.Action{Verb: plan.Signal, Sandbox: "s", Container: "app", Signal: name}, nil))
		if got := <-asked; got.Signo != number || got.CID != "s.app.1" || got.Mode != boot.DeliverToProcess {
			t.Errorf("%s is sent as %+v, want %d", name, got, number)
		}
	}
}

// A sentry that does not answer is not sent a user's signal, which it would
// deliver once it does, and nothing that ends later is laid to that.
func TestKillOfASilentSentry(t *testing.T) {
	r := newRig(t)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	check(t, err)
	defer l.Close()
	asked := make(chan string, 9)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(asked)
				return
			}
			defer conn.Close() // without an answer
			var request struct{ Method string }
			if json.NewDecoder(conn).Decode(&request) == nil {
				asked <- request.Method
			}
		}
	}()
	rec := running(r, "s", 1)
	r.waiters[rec.ID] = &waiter{cancel: func() {}, rec: rec}
	check(t, r.c.Records.Save(observed.Record{Name: "s", State: observed.SandboxUp, Cgroup: r.cgroupPath("s"), ControlSocket: socket}))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.Kill(ctx, "s", "app", Kill{Signal: unix.SIGTERM}); !errors.Is(err, gvisor.ErrNoAnswer) {
		t.Errorf("a signal in a silent sandbox: %v", err)
	}
	l.Close()
	for method := range asked {
		if method != boot.ContMgrContainerRuntimeState {
			t.Errorf("it was asked for %s", method)
		}
	}
	if sent := r.container("s", "app").Sent; sent != nil {
		t.Errorf("the record has the signals %v", sent)
	}
}
