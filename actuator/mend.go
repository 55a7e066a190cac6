package actuator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/sentry"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// mend repairs the records of a sandbox whose sentry is left alone.
func (a *Actuator) mend(ctx context.Context, w work, d *reconcile.Declared) error {
	if err := a.c.Records.Mend(w.Sandbox); err != nil {
		return err
	}
	if w.rec != nil || d == nil {
		return nil
	}
	return a.rebuild(ctx, w, d)
}

// rebuild makes a sandbox's record from its sentry, which is found in its
// cgroup and must answer. What nobody can tell, as what it was made from, is
// taken to be as it is declared.
func (a *Actuator) rebuild(ctx context.Context, w work, d *reconcile.Declared) error {
	process, err := a.findSentry(a.cgroupPath(w.Sandbox))
	if err != nil {
		return err
	}
	sockets, err := filepath.Glob(filepath.Join(a.c.Records.Dir(w.Sandbox), "runsc-*.sock"))
	if err != nil {
		return err
	}
	if len(sockets) != 1 {
		return fmt.Errorf("the control socket of sentry %d is gone: %d sockets are left", process.PID, len(sockets))
	}
	control := gvisor.Sentry{Socket: sockets[0], Timeout: callTimeout}
	if _, err := control.State(ctx, w.Sandbox); err != nil {
		return fmt.Errorf("sentry %d: %w", process.PID, err)
	}
	score, err := ownScore()
	if err != nil {
		return err
	}
	rec := observed.Record{
		Name:                w.Sandbox,
		Runtime:             d.Spec.Runtime,
		SandboxHash:         d.SandboxHash,
		Fields:              d.Fields(),
		Cgroup:              a.cgroupPath(w.Sandbox),
		ControlSocket:       sockets[0],
		Sentry:              process,
		OriginalOOMScoreAdj: score,
		CreatedAt:           time.Now(),
		HostNetwork:         d.Spec.Network.Mode == desired.NetworkHost,
		// Nobody knows whether it is frozen: from this state it is asked.
		State: observed.SandboxResuming,
	}
	if err := a.c.Records.Save(rec); err != nil {
		return err
	}
	return a.adopt(w.Sandbox)
}

// findSentry identifies the one sentry in a sandbox's cgroup.
func (a *Actuator) findSentry(cgroup string) (observed.Process, error) {
	members, err := a.members(cgroup)
	if err != nil {
		return observed.Process{}, err
	}
	var found []observed.Process
	for _, p := range members {
		name, err := arg0(p)
		if errors.Is(err, observed.ErrGone) {
			continue
		}
		if err != nil {
			return observed.Process{}, err
		}
		if name == sentry.Arg0 {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return observed.Process{}, fmt.Errorf("%d sentries are in the sandbox's cgroup, of %d processes", len(found), len(members))
	}
	return found[0], nil
}

// arg0 is the name that a process was started by. ErrGone where it has ended.
func arg0(p observed.Process) (string, error) {
	dir, err := p.OpenDir()
	if err != nil {
		return "", err
	}
	defer dir.Close()
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/cmdline", dir.Fd()))
	if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return "", observed.ErrGone
	}
	name, _, _ := strings.Cut(string(cmdline), "\x00")
	return name, err
}

// ownScore is this process's OOM score, which sentries begin with unless it
// protects.
func ownScore() (int, error) {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0, err
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return max(score, 0), err
}
