package actuator

import (
	"cmp"
	"slices"
	"time"
)

// Background is something that goes on beside the loop, or is waited for there.
type Background struct {
	Sandbox, Container string // Container is empty where it is about all of them
	What               string
	Since              time.Time
}

// Held counts what an Actuator holds on to.
type Held struct {
	Waits     int // for ends of containers
	Gofers    int // whose sockets it has
	Terminals int
}

// Background lists what goes on, but for waits for ends of containers that go well.
func (a *Actuator) Background() (list []Background, held Held) {
	a.mu.Lock()
	defer a.mu.Unlock()
	held = Held{Waits: len(a.waiters), Gofers: len(a.gofers), Terminals: len(a.terminals)}
	for of, last := range a.hooks {
		for h := last; h != nil; h = h.before {
			list = append(list, Background{of.sandbox, of.container, "hooks", h.since})
		}
	}
	for _, h := range a.preStops {
		if !h.over {
			list = append(list, Background{h.sandbox, h.container, "preStop", h.since})
		}
	}
	for _, t := range a.freezing {
		what := "resume"
		if t.paused {
			what = "pause"
		}
		list = append(list, Background{t.sandbox, "", what, t.since})
	}
	for _, s := range a.silences {
		list = append(list, Background{s.sandbox, s.container, "a gofer that answers nobody", s.since})
	}
	for _, w := range a.waiters {
		if w.failed {
			list = append(list, Background{w.rec.Sandbox, w.rec.Name, "waiting for its end anew, which failed", w.rec.StartedAt})
		}
	}
	slices.SortFunc(list, func(a, b Background) int {
		return cmp.Or(cmp.Compare(a.Sandbox, b.Sandbox), cmp.Compare(a.Container, b.Container), cmp.Compare(a.What, b.What), a.Since.Compare(b.Since))
	})
	return list, held
}
