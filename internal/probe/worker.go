package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"time"

	"sandboxer/desired"
)

// worker is one probe at work. What it counts lasts as long as it does.
type worker struct {
	p *Prober
	t Target
	// due: it need not keep out of others' way.
	due bool

	cancel context.CancelFunc // nil until it is started
	ended  chan struct{}

	last  bool // how the last one ended, and
	count int  // how many in a row
	// unknown is how many in a row could not be carried out.
	unknown int
}

func equal(a, b *desired.Probe) bool { return reflect.DeepEqual(a, b) }

func (w *worker) stop() {
	if w.cancel != nil {
		w.cancel()
	}
}

// run probes at each period until ctx is done or there is no more to find out.
func (w *worker) run(ctx context.Context) {
	defer w.cancel()
	c := w.p.c.Reach(w.t.Sandbox, w.t.Container, w.t.ID)
	timer := time.NewTimer(w.first(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		err := ask(ctx, c, w.t.Probe)
		if ctx.Err() != nil || w.over(err) {
			return
		}
		timer.Reset(time.Until(began.Add(w.period()))) // at once where it took longer
	}
}

func (w *worker) period() time.Duration {
	return time.Duration(w.t.Probe.PeriodSeconds) * time.Second
}

// first is how long the first probe waits. One that is late already, since its
// container ran before anybody could ask, waits for a random part of a period:
// what a new daemon finds would all be asked at the same moment.
func (w *worker) first(now time.Time) time.Duration {
	late := now.Sub(w.t.StartedAt.Add(time.Duration(w.t.Probe.InitialDelaySeconds) * time.Second))
	switch {
	case late <= 0:
		return -late
	case w.due:
		return 0
	}
	return rand.N(min(late, w.period()))
}

// over counts how a probe ended, says so where that is news, and reports
// whether there is no more to find out about this instance.
func (w *worker) over(err error) bool {
	if errors.Is(err, ErrUnknown) {
		// The first is most likely about a container that has just ended.
		if w.unknown++; w.unknown == 2 {
			w.t.Good = false
			w.p.c.Report(Report{Target: w.t, Message: oneLine(err.Error(), messageMax)})
		}
		return false
	}
	ok := err == nil
	w.unknown = 0
	if w.count > 0 && w.last == ok {
		w.count++
	} else {
		w.last, w.count = ok, 1
	}
	p := w.t.Probe
	r := Report{Target: w.t, OK: ok, Count: w.count}
	if ok {
		r.Conclusive = w.count >= int(p.SuccessThreshold)
		if !r.Conclusive || w.t.Good {
			return false
		}
	} else {
		r.Message = oneLine(err.Error(), messageMax)
		r.Conclusive = w.count == int(p.FailureThreshold)
		if !r.Conclusive && w.count > 1 {
			return false
		}
	}
	w.t.Good = ok
	w.p.c.Report(r)
	return r.Conclusive && (!ok && w.t.Kind != Readiness || ok && w.t.Kind == Startup)
}
