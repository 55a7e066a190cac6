package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/desired"
)

// bench is a Prober of one container, and what it says.
type bench struct {
	*Prober
	f    *fake
	mu   sync.Mutex
	said []string
	end  func()
}

// newBench must be called in a bubble. code is that of the n-th command.
func newBench(t *testing.T, code func(n int) (int, error)) *bench {
	b := &bench{f: &fake{begin: time.Now(), code: code}}
	p, err := New(Config{
		Reach: func(sandbox, container, id string) Container { return b.f },
		Report: func(r Report) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.said = append(b.said, fmt.Sprintf("%s %v %d %v %s", r.Kind, r.OK, r.Count, r.Conclusive, r.Message))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Prober = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	synctest.Wait()
	b.end = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return b
}

func (b *bench) target(kind Kind, change func(*Target)) Target {
	t := Target{Sandbox: "s", Container: "app", ID: "s.app.1", StartedAt: b.f.begin, Kind: kind, Probe: &desired.Probe{
		Exec: &desired.ExecAction{Command: []string{"x"}}, PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3}}
	if change != nil {
		change(&t)
	}
	return t
}

func (b *bench) check(t *testing.T, asked []time.Duration, said ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	if !slices.Equal(b.f.asked, asked) {
		t.Errorf("it was asked at %v, want %v", b.f.asked, asked)
	}
	if !slices.Equal(b.said, said) {
		t.Errorf("it said\n\t%s\nwant\n\t%s", strings.Join(b.said, "\n\t"), strings.Join(said, "\n\t"))
	}
}

// sequence gives codes one after the other, then the last for ever.
func sequence(codes ...int) func(int) (int, error) {
	return func(n int) (int, error) { return codes[min(n, len(codes))-1], nil }
}

const s = time.Second

// What is said, and when, as codes follow each other.
func TestThresholds(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   Kind
		change func(*Target)
		codes  []int
		lasts  time.Duration
		asked  []time.Duration
		said   []string
	}{
		{"ready at once, and told of once", Readiness, nil, []int{0}, 25 * s, []time.Duration{0, 10 * s, 20 * s}, []string{"readiness true 1 true "}},
		{"ready, as known", Readiness, func(t *Target) { t.Good = true }, []int{0}, 15 * s, []time.Duration{0, 10 * s}, nil},
		{"delay", Readiness, func(t *Target) { t.Probe.InitialDelaySeconds = 7 }, []int{0}, 10 * s, []time.Duration{7 * s}, []string{"readiness true 1 true "}},
		{"the first failure and the one that counts", Readiness, func(t *Target) { t.Good = true }, []int{1, 1, 1, 1, 1}, 45 * s,
			[]time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s}, []string{"readiness false 1 false exit code 1", "readiness false 3 true exit code 1"}},
		{"a failure that does not count", Readiness, func(t *Target) { t.Good = true }, []int{1, 1, 0, 1, 0}, 45 * s, []time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s},
			[]string{"readiness false 1 false exit code 1", "readiness true 1 true ", "readiness false 1 false exit code 1", "readiness true 1 true "}},
		{"several successes", Readiness, func(t *Target) { t.Probe.SuccessThreshold = 2 }, []int{0, 1, 0, 0, 0}, 45 * s, []time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s},
			[]string{"readiness false 1 false exit code 1", "readiness true 2 true "}},
		{"one failure is enough", Readiness, func(t *Target) { t.Probe.FailureThreshold = 1 }, []int{1, 1, 0}, 25 * s, []time.Duration{0, 10 * s, 20 * s},
			[]string{"readiness false 1 true exit code 1", "readiness true 1 true "}},
		{"alive is no news", Liveness, func(t *Target) { t.Good = true }, []int{0}, 15 * s, []time.Duration{0, 10 * s}, nil},
		{"not alive: nothing more is asked", Liveness, func(t *Target) { t.Good = true }, []int{1}, 100 * s, []time.Duration{0, 10 * s, 20 * s},
			[]string{"liveness false 1 false exit code 1", "liveness false 3 true exit code 1"}},
		{"started: nothing more is asked", Startup, nil, []int{1, 0}, 100 * s, []time.Duration{0, 10 * s},
			[]string{"startup false 1 false exit code 1", "startup true 1 true "}},
		{"not started", Startup, func(t *Target) { t.Probe.FailureThreshold = 2 }, []int{1}, 100 * s, []time.Duration{0, 10 * s},
			[]string{"startup false 1 false exit code 1", "startup false 2 true exit code 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, sequence(c.codes...))
				defer b.end()
				b.Set("s", []Target{b.target(c.kind, c.change)})
				time.Sleep(c.lasts)
				b.check(t, c.asked, c.said...)
			})
		})
	}
}

// Who can't be asked has neither failed nor succeeded; that it goes on so is
// said once.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(n int) (int, error) {
			if n == 1 || n > 2 && n < 6 {
				return 0, fmt.Errorf("%w: no answer", ErrUnknown)
			}
			return 0, nil
		})
		defer b.end()
		b.Set("s", []Target{b.target(Liveness, func(t *Target) { t.Good = true })})
		time.Sleep(61 * s)
		b.check(t, []time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s, 50 * s, 60 * s},
			"liveness false 0 false the container can't be asked: no answer", "liveness true 2 true ")
	})
}

// A probe that takes its time is asked again at its next turn, or at once where
// that is over. One whose time is over is killed.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sequence(0))
		defer b.end()
		b.f.takes = 4 * s
		b.Set("s", []Target{b.target(Readiness, func(t *Target) { t.Probe.TimeoutSeconds, t.Probe.PeriodSeconds = 5, 3 })})
		time.Sleep(9 * s)
		b.check(t, []time.Duration{0, 4 * s, 8 * s}, "readiness true 1 true ")
		b.Set("s", []Target{b.target(Readiness, func(t *Target) { t.Probe.FailureThreshold = 1; t.ID = "s.app.2"; t.StartedAt = time.Now() })})
		time.Sleep(2 * s)
		b.check(t, []time.Duration{0, 4 * s, 8 * s, 9 * s}, "readiness true 1 true ", "readiness false 1 true no answer within 1s")
		if b.f.killed != 2 {
			t.Errorf("%d commands were killed", b.f.killed)
		}
	})
}

// Probes that stay go on as they are; those that go end with what they are
// about; changed ones count anew.
func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sequence(1))
		defer b.end()
		one := b.target(Readiness, nil)
		b.Set("s", []Target{one})
		time.Sleep(11 * s)
		again := b.target(Readiness, func(t *Target) { t.Good = true }) // no difference
		b.Set("s", []Target{again})
		time.Sleep(10 * s)
		b.check(t, []time.Duration{0, 10 * s, 20 * s}, "readiness false 1 false exit code 1", "readiness false 3 true exit code 1")
		changed := b.target(Readiness, func(t *Target) { t.Probe.FailureThreshold, t.StartedAt = 2, time.Now() })
		b.f.takes = s / 2
		b.Set("s", []Target{changed})
		time.Sleep(10 * s)
		synctest.Wait()
		if n := len(b.said); n != 3 {
			t.Errorf("it counts on: %v", b.said)
		}
		time.Sleep(s / 4)
		b.Set("s", nil)
		synctest.Wait()
		if b.f.killed != 1 || len(b.workers) != 0 {
			t.Errorf("%d commands were killed, %d sandboxes have workers", b.f.killed, len(b.workers))
		}
		time.Sleep(time.Hour)
		b.check(t, []time.Duration{0, 10 * s, 20 * s, 21 * s, 31 * s}, b.said...)
	})
}

// Resting ends what goes on, and waits for it.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sequence(0))
		defer b.end()
		b.f.takes = s / 2
		if err := b.Rest(t.Context(), "s"); err != nil {
			t.Errorf("nothing goes on: %v", err)
		}
		b.Set("s", []Target{b.target(Liveness, nil), b.target(Readiness, nil)})
		time.Sleep(s / 4)
		if err := b.Rest(t.Context(), "s"); err != nil || b.f.killed != 2 {
			t.Errorf("%v, %d commands were killed", err, b.f.killed)
		}
		time.Sleep(time.Minute)
		b.check(t, []time.Duration{0, 0})
		b.Set("s", []Target{b.target(Readiness, nil)})
		time.Sleep(11 * s)
		synctest.Wait()
		if n := len(b.f.asked); n < 3 || n > 4 {
			t.Errorf("it does not go on: %v", b.f.asked)
		}
	})
}

// Who is found running is asked at some moment of the first period, not all at
// once; what had waited for a startup probe is asked at once.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sequence(0))
		defer b.end()
		early, late := 0, 0
		for i := range 1000 {
			w := worker{t: b.target(Readiness, func(t *Target) { t.StartedAt = time.Now().Add(-time.Hour) })}
			d := w.first(time.Now())
			if d < 0 || d >= 10*s {
				t.Fatalf("the %d. waits %s", i, d)
			}
			if d < 5*s {
				early++
			} else {
				late++
			}
		}
		if early < 400 || late < 400 {
			t.Errorf("%d are asked early, %d late", early, late)
		}
		w := worker{t: b.target(Readiness, func(t *Target) { t.StartedAt = time.Now().Add(-time.Millisecond) })}
		if d := w.first(time.Now()); d >= time.Millisecond {
			t.Errorf("one that has just started waits %s", d)
		}
		b.Set("s", []Target{b.target(Startup, func(t *Target) { t.Probe.InitialDelaySeconds = 30 })})
		time.Sleep(31 * s)
		b.Set("s", []Target{b.target(Readiness, nil)})
		b.check(t, []time.Duration{30 * s, 31 * s}, "startup true 1 true ", "readiness true 1 true ")
	})
}

// What is set before the Prober runs begins with it.
func TestSetBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{begin: time.Now(), code: sequence(0)}
		p, err := New(Config{Reach: func(string, string, string) Container { return f }, Report: func(Report) {}})
		if err != nil {
			t.Fatal(err)
		}
		b := bench{f: f}
		p.Set("s", []Target{b.target(Readiness, nil)})
		p.Set("r", []Target{b.target(Readiness, nil)})
		if err := p.Rest(t.Context(), "r"); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		if err := p.Run(ctx); err != nil || len(f.asked) != 1 {
			t.Errorf("%v, asked %v", err, f.asked)
		}
		p.Set("s", []Target{b.target(Liveness, nil)}) // after the end
	})
}
