package actuator

import (
	"context"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// memoryWatch is what is known of a sandbox's memory between looks.
type memoryWatch struct {
	// sentry is whose answer it is: another one starts anew.
	sentry observed.Process
	// mark is how much the cgroup must use to be worth a look; 0: nothing is.
	mark int64
	// containers is the last answer and at what the cgroup used then; nil: none.
	// failed says that the last question got none.
	containers map[string]int64
	at         int64
	failed     bool
	// kills is how many processes the kernel had killed, the last one victim.
	kills  uint64
	victim int
	// asked is when the last question was put; waits says that the loop is
	// about to be poked.
	asked time.Time
	waits bool
}

// How long the loop is left alone after a question, so that an application
// whose use goes up and down costs little, and one that reads and writes files
// at its sandbox's limit, where every block takes the place of another, too.
// Both are short against the time in which most containers take what their
// sandbox has in reserve.
const (
	memoryQuiet = 20 * time.Millisecond
	fullQuiet   = 200 * time.Millisecond
)

// Memory says what a sandbox uses; see observed.Looker. The sentry is asked
// about these containers only if the answer can matter: when the mark has been
// reached, or much has changed since the last answer, or the cgroup is at its
// limit, where a container can grow while the cgroup, which loses cache to it,
// does not.
func (a *Actuator) Memory(ctx context.Context, rec observed.Record, containerIDs []string) (observed.Memory, error) {
	now, err := a.c.Cgroups.Memory(rec.Cgroup)
	if err != nil {
		return observed.Memory{}, err
	}
	a.mu.Lock()
	w := a.memoryOf(rec)
	kills := now.Kills != w.kills
	changed := w.containers != nil && max(now.Usage-w.at, w.at-now.Usage) >= plan.MemoryStep
	ask := len(containerIDs) > 0 && w.mark != 0 && (now.Usage >= w.mark || changed || now.Full)
	a.mu.Unlock()

	victim := 0
	if kills {
		victim, _ = a.c.Cgroups.Victim(rec.Cgroup)
	}
	var used map[string]int64
	if ask {
		// Whoever does not answer is known by other signs.
		if used, err = (gvisor.Sentry{Socket: rec.ControlSocket}).Memory(ctx, containerIDs); err != nil {
			a.c.Log.V(1).Info("asking for memory failed", "sandbox", rec.Name, "error", err.Error())
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w = a.memoryOf(rec)
	if kills {
		w.kills, w.victim = now.Kills, victim
	}
	if ask {
		w.containers, w.at, w.failed = used, now.Usage, used == nil
		w.asked = time.Now()
	}
	return observed.Memory{
		UsageBytes: now.Usage, PeakBytes: now.Peak, LimitBytes: now.Limit, Kills: now.Kills, KilledPID: w.victim,
		Containers: w.containers, ContainersAt: w.at,
	}, nil
}

// memoryOf needs a.mu.
func (a *Actuator) memoryOf(rec observed.Record) *memoryWatch {
	w := a.memory[rec.Cgroup]
	if w == nil || w.sentry != rec.Sentry {
		w = &memoryWatch{sentry: rec.Sentry}
		a.memory[rec.Cgroup] = w
	}
	return w
}

// WatchMemory has the loop poked when the sandbox's cgroup uses that many
// bytes, and when the kernel kills in it; 0: no more.
func (a *Actuator) WatchMemory(rec observed.Record, mark int64) {
	if mark == 0 {
		a.unwatchMemory(rec.Cgroup)
		return
	}
	a.mu.Lock()
	w := a.memoryOf(rec)
	set := w.mark == mark
	w.mark = mark
	failed := w.failed
	a.mu.Unlock()
	if set {
		return
	}
	if err := a.c.Alarms.Set(rec.Cgroup, mark, func() { a.memoryAlarm(rec) }); err != nil {
		// The resync still looks.
		a.c.Log.V(1).Info("watching memory failed", "sandbox", rec.Name, "error", err.Error())
	}
	if !failed {
		a.memoryAlarm(rec) // it may have been passed before it was set
	}
}

// unwatchMemory forgets what is known of a cgroup's memory.
func (a *Actuator) unwatchMemory(cgroup string) {
	a.c.Alarms.Clear(cgroup)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.memory, cgroup)
}

// memoryAlarm pokes the loop if the sandbox's memory is worth a look.
func (a *Actuator) memoryAlarm(rec observed.Record) {
	a.mu.Lock()
	w := a.memory[rec.Cgroup]
	waits := w == nil || w.sentry != rec.Sentry || w.waits
	a.mu.Unlock()
	if waits {
		return
	}
	now, err := a.c.Cgroups.Memory(rec.Cgroup)
	a.mu.Lock()
	defer a.mu.Unlock()
	quiet := memoryQuiet
	switch {
	case err != nil, now.Kills != w.kills, now.Usage >= w.mark:
	case now.Full:
		quiet = fullQuiet
	default:
		return
	}
	wait := time.Until(w.asked.Add(quiet))
	if wait <= 0 {
		a.c.Poke(rec.Name)
		return
	}
	w.waits = true
	a.later(wait, func() {
		w.waits = false
		a.c.Poke(rec.Name)
	})
}
