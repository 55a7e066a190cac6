package actuator

import (
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"testing"

	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/observed"
	"sandboxer/reconcile"
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
		check(t, r.do(reconcile.Action{Verb: reconcile.Signal, Sandbox: "s", Container: "app", Signal: name}, nil))
		if got := <-asked; got.Signo != number || got.CID != "s.app.1" || got.Mode != boot.DeliverToProcess {
			t.Errorf("%s is sent as %+v, want %d", name, got, number)
		}
	}
}
