package actuator

import (
	"context"
	"errors"
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
	// failures is how many questions in a row got none.
	containers map[string]int64
	at         int64
	failures   int
	// kills is how many processes the kernel had killed, the last one victim.
	kills  uint64
	victim int
	// asked is when the last question was put, and took how long it was answered;
	// waits says that the loop is about to be poked.
	asked time.Time
	took  time.Duration
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
	// quietShare is how many times as long as its answer took it is left alone
	// at least: the sentry looks through all that is new. At most slowQuiet.
	quietShare = 4
	slowQuiet  = time.Second
)

// answerTime is how long an answer is believed: what a container takes can be just what
// another one, or a process that helped at the start, has given back since, so that
// the use shows nothing of it. It is seen at the look that comes next.
const answerTime = 45 * time.Second

// When a question that got no answer is put again, though nothing else calls for a
// look: the use may be past the mark already, of which nobody tells a second time.
const (
	unansweredFirst = time.Second
	unansweredMost  = 30 * time.Second
)

// Memory says what a sandbox uses; see observed.Looker. The sentry is asked
// about these containers only if the answer can matter: when the mark has been
// reached, or much has changed since the last answer, or that is old, or the cgroup is
// at its limit, where a container can grow while the cgroup, which loses cache to it,
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
	old := w.containers != nil && time.Since(w.asked) >= answerTime
	ask := len(containerIDs) > 0 && w.mark != 0 && (now.Usage >= w.mark || changed || now.Full || old)
	a.mu.Unlock()

	victim := 0
	if kills {
		victim, _ = a.c.Cgroups.Victim(rec.Cgroup)
	}
	var used map[string]int64
	var took time.Duration
	if ask {
		// Whoever answers nothing is known by other signs.
		began := time.Now()
		if used, err = (gvisor.Sentry{Socket: rec.ControlSocket}).Memory(ctx, containerIDs); err != nil {
			a.c.Log.V(1).Info("asking for memory failed", "sandbox", rec.Name, "error", err.Error())
		}
		took = time.Since(began)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w = a.memoryOf(rec)
	if kills {
		w.kills, w.victim = now.Kills, victim
	}
	if ask {
		w.containers, w.at = used, now.Usage
		w.asked, w.took = time.Now(), took
		w.failures++
		switch {
		case used != nil:
			w.failures = 0
		case !errors.Is(err, gvisor.ErrNotThere):
			a.pokeLater(rec, w, min(unansweredFirst<<min(w.failures-1, 5), unansweredMost))
		}
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
	failed := w.failures > 0
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
	quiet = max(quiet, min(quietShare*w.took, slowQuiet))
	wait := time.Until(w.asked.Add(quiet))
	if wait <= 0 {
		a.c.Poke(rec.Name)
		return
	}
	a.pokeLater(rec, w, wait)
}

// pokeLater has the loop poked after a while, unless it is about to be. It needs
// a.mu.
func (a *Actuator) pokeLater(rec observed.Record, w *memoryWatch, wait time.Duration) {
	if w.waits {
		return
	}
	w.waits = true
	a.later(wait, func() {
		w.waits = false
		a.c.Poke(rec.Name)
	})
}
