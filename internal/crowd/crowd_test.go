package crowd

import (
	"context"
	"maps"
	"testing"
	"time"
)

// world is two processors and what runs on them.
type world struct {
	now    time.Time
	host   time.Duration
	used   map[Sandbox]time.Duration
	told   map[Sandbox]bool // on or off
	looked int
}

func (w *world) config() Config {
	return Config{
		Processors: 2,
		Host:       func() (time.Duration, error) { return w.host, nil },
		All: func() (sum time.Duration, _ error) {
			for _, d := range w.used {
				sum += d
			}
			return sum, nil
		},
		Sandboxes: func() (map[Sandbox]time.Duration, error) {
			w.looked++
			return maps.Clone(w.used), nil
		},
		FastPath: func(_ context.Context, s Sandbox, on bool) error { w.told[s] = on; return nil },
	}
}

// second lets one pass: each sandbox and everything else use so much of a
// processor.
func (w *world) second(t *testing.T, on *watch, others float64, each map[Sandbox]float64) {
	t.Helper()
	w.now = w.now.Add(time.Second)
	w.host += time.Duration(others * float64(time.Second))
	for s, u := range each {
		d := time.Duration(u * float64(time.Second))
		w.used[s] += d
		w.host += d
	}
	if err := on.look(t.Context(), w.now); err != nil {
		t.Fatal(err)
	}
}

// Busy sandboxes that share processors with others do without the fast path for
// as long as that lasts; one that has them to itself does not, nor does an idle one.
func TestCrowd(t *testing.T) {
	a, b, idle := Sandbox{"a", 1}, Sandbox{"b", 2}, Sandbox{"idle", 3}
	for _, c := range []struct {
		name   string
		others float64
		each   map[Sandbox]float64
		off    []Sandbox
	}{
		{"one alone", 0.1, map[Sandbox]float64{a: 1.85, idle: 0}, nil},
		{"two", 0.1, map[Sandbox]float64{a: 0.95, b: 0.95, idle: 0}, []Sandbox{a, b}},
		{"one beside other programs", 1, map[Sandbox]float64{a: 0.95, idle: 0.01}, []Sandbox{a}},
		{"two with processors to spare", 0, map[Sandbox]float64{a: 0.5, b: 0.5, idle: 0}, nil},
		{"other programs alone", 2, map[Sandbox]float64{a: 0, b: 0, idle: 0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{now: time.Unix(1, 0), used: map[Sandbox]time.Duration{}, told: map[Sandbox]bool{}}
			on := &watch{Config: w.config()}
			for range 4 {
				w.second(t, on, c.others, c.each)
			}
			if len(w.told) != len(c.off) {
				t.Errorf("told %v, want %v to be off", w.told, c.off)
			}
			for _, s := range c.off {
				if on, told := w.told[s]; !told || on {
					t.Errorf("%s is not off", s.Name)
				}
			}
			for i := range lasting {
				for _, s := range c.off {
					if w.told[s] {
						t.Errorf("%s is on after %d s of calm", s.Name, i)
					}
				}
				w.second(t, on, 0, nil)
			}
			for _, s := range c.off {
				if !w.told[s] {
					t.Errorf("%s is off for good", s.Name)
				}
			}
		})
	}
}

// While the host has processors to spare no sandbox is looked at.
func TestCalmCostsNothing(t *testing.T) {
	w := &world{now: time.Unix(1, 0), used: map[Sandbox]time.Duration{}, told: map[Sandbox]bool{}}
	on := &watch{Config: w.config()}
	for range 10 {
		w.second(t, on, 1.5, nil)
	}
	if w.looked > 0 {
		t.Errorf("looked at %d times", w.looked)
	}
}

// While others use the processors up, one number is read and no sandbox is looked
// at; one that begins to work is noticed in the time that it takes anyway.
func TestIdleAmongOthersCostsNothing(t *testing.T) {
	a := Sandbox{"a", 1}
	w := &world{now: time.Unix(1, 0), used: map[Sandbox]time.Duration{a: 0}, told: map[Sandbox]bool{}}
	on := &watch{Config: w.config()}
	for range 10 {
		w.second(t, on, 2, map[Sandbox]float64{a: 0.01})
	}
	if w.looked > 1 {
		t.Errorf("looked at %d times", w.looked)
	}
	for range 2 {
		w.second(t, on, 1, map[Sandbox]float64{a: 1})
	}
	if on, told := w.told[a]; !told || on {
		t.Error("it is not noticed")
	}
}

// What an earlier daemon has told sandboxes is taken back.
func TestNextDaemon(t *testing.T) {
	a := Sandbox{"a", 1}
	w := &world{now: time.Unix(1, 0), used: map[Sandbox]time.Duration{a: time.Hour}, told: map[Sandbox]bool{}}
	on := &watch{Config: w.config(), unknown: true}
	for range lasting + 1 {
		w.second(t, on, 0, nil)
	}
	if !w.told[a] {
		t.Error("it was not told to use its fast path")
	}
}
