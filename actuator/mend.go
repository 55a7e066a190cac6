package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/sentry"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// mend repairs the records of a sandbox whose sentry is left alone.
func (a *Actuator) mend(ctx context.Context, w work, d *plan.Declared) error {
	err := a.c.Records.Mend(w.Sandbox)
	if err == nil && w.rec == nil && d != nil {
		err = a.rebuild(ctx, w, d)
	}
	if err == nil {
		err = a.rebuildContainers(w.Sandbox, w.Container)
	}
	if isPassing(err) {
		err = fmt.Errorf("%w: %w", plan.ErrChanged, err)
	}
	return err
}

// isPassing says whether an error says nothing of what runs, and may be none later: a
// sentry does not answer, the host is short of something, or its disk is full or ill.
func isPassing(err error) bool {
	return isShortage(err) || isAny(err, gvisor.ErrNoAnswer, unix.EAGAIN, unix.ENOSPC, unix.EDQUOT, unix.EIO)
}

// isShortage says whether an error is of this process or the host, which lack
// descriptors or memory, and says nothing of what was looked for.
func isShortage(err error) bool { return isAny(err, unix.EMFILE, unix.ENFILE, unix.ENOMEM) }

func isAny(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// rebuild makes a sandbox's record from its sentry, which is found in its
// cgroup and must answer. What nobody can tell, as what it was made from, is
// taken to be as it is declared.
func (a *Actuator) rebuild(ctx context.Context, w work, d *plan.Declared) error {
	process, err := a.findSentry(a.cgroupPath(w.Sandbox))
	if err != nil {
		return err
	}
	sockets, err := gvisor.Sockets(a.c.Records.Dir(w.Sandbox))
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
	version, err := gvisorOf(process)
	if err != nil {
		a.c.Log.V(1).Info("which gVisor a sentry is of can't be told", "sandbox", w.Sandbox, "error", err.Error())
	}
	rec := observed.Record{
		GVisor:              version,
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
	if err := a.adopt(w.Sandbox); err != nil {
		return fmt.Errorf("%w: %w", plan.ErrChanged, err) // there is a record now: its containers' are next
	}
	return nil
}

// findSentry identifies the one sentry in a sandbox's cgroup.
func (a *Actuator) findSentry(cgroup string) (observed.Process, error) {
	members, err := a.members(cgroup)
	if err != nil {
		return observed.Process{}, err
	}
	var found []observed.Process
	for _, p := range members {
		args, err := commandLine(p)
		if errors.Is(err, observed.ErrGone) {
			continue
		}
		if err != nil {
			return observed.Process{}, err
		}
		if args[0] == sentry.Arg0 {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return observed.Process{}, fmt.Errorf("%d sentries are in the sandbox's cgroup, of %d processes", len(found), len(members))
	}
	return found[0], nil
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
