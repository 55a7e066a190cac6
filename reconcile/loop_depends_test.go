package reconcile

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/reconcile/plan"
)

// chained has a harness tell the loop of what is ready, as the daemon does:
// what runs as declared, with its init containers done.
func chained(t *testing.T, change func(*Config)) *harness {
	var h *harness
	h = newHarness(t, func(cfg *Config) {
		note := cfg.OnPass
		cfg.Dependency = func(name string) plan.Dependency {
			h.mu.Lock()
			defer h.mu.Unlock()
			if p := h.passes[name]; len(p) > 0 {
				return ready(p[len(p)-1])
			}
			return plan.Dependency{}
		}
		cfg.OnPass = func(p Pass) {
			before := cfg.Dependency(p.Name)
			note(p)
			for _, name := range h.source.Names() {
				if d, _ := h.source.Declared(name); cfg.Dependency(p.Name) != before && slices.Contains(d.Spec.DependsOn, p.Name) {
					h.loop.Poke(name)
				}
			}
		}
		if change != nil {
			change(cfg)
		}
	})
	return h
}

func ready(p Pass) plan.Dependency {
	n := 0
	for i := range p.Observed.Containers {
		if plan.Live(&p.Observed.Containers[i]) {
			n++
		}
	}
	return plan.Dependency{Ready: p.Declared != nil && n == len(p.Declared.Spec.Containers) && p.Declared.Spec.State == desired.Running, Phase: "Pending"}
}

// creations are the sandboxes in the order in which they were made.
func (h *harness) creations() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, a := range h.actions {
		if a.Verb == plan.Create {
			names = append(names, a.Sandbox)
		}
	}
	return strings.Join(names, " ")
}

func TestLoopStartsInOrder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		takes  time.Duration
	}{
		{"woken", nil, 0},
		{"by the resync alone", func(cfg *Config) { cfg.ResyncOnly, cfg.Resync = true, time.Second }, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := chained(t, tt.change)
				h.run()
				began := time.Now()
				h.declare("a", desiredtest.Needs("b"))
				h.declare("b", desiredtest.Needs("c"))
				synctest.Wait()
				if got := h.creations(); got != "" {
					t.Errorf("made %s, and c is not there", got)
				}
				h.declare("c")
				time.Sleep(tt.takes)
				synctest.Wait()
				if tt.takes == 0 && !time.Now().Equal(began) {
					t.Errorf("it took %s", time.Since(began))
				}
				if got := h.creations(); got != "c b a" {
					t.Errorf("made in the order %s", got)
				}
				for _, name := range []string{"a", "b", "c"} {
					h.reached(name)
				}
				// One that goes harms nobody; who is lost meanwhile waits for it.
				h.declare("c", desiredtest.State(desired.Stopped))
				time.Sleep(time.Minute + tt.takes)
				synctest.Wait()
				h.reached("b")
				h.world.crash("b")
				time.Sleep(time.Minute + tt.takes)
				synctest.Wait()
				if got := h.creations(); got != "c b a" {
					t.Errorf("made in the order %s", got)
				}
				h.reached("a")
				h.declare("c")
				time.Sleep(time.Minute + tt.takes)
				synctest.Wait()
				if got := h.creations(); got != "c b a c b" {
					t.Errorf("made in the order %s", got)
				}
			})
		})
	}
}

func TestLoopInitContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box", desiredtest.Init)
		synctest.Wait()
		for _, name := range []string{"make", "fill"} {
			if !h.world.alive("box", name) || h.world.alive("box", "app") {
				t.Fatalf("%s is to run, and nothing else: %v", name, h.verbs())
			}
			h.world.exit("box", name, 1)
			synctest.Wait()
			h.world.exit("box", name, 0)
			synctest.Wait()
		}
		h.reached("box")
		time.Sleep(time.Second)
		if err := h.loop.Ask(t.Context(), "box", plan.Renew([]string{"app", "web"}, time.Now())); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, name := range []string{"make", "fill"} {
			if !h.world.alive("box", name) || h.world.alive("box", "app") {
				t.Fatalf("made anew, %s is to run, and nothing else: %v", name, h.verbs())
			}
			h.world.exit("box", name, 0)
			synctest.Wait()
		}
		h.reached("box")
	})
}
