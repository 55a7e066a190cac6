package desired

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"sandboxer/internal/sealed"
)

// past are the removals of the guard's last window, as they are kept for the next
// daemon.
type past struct {
	Version  int           `json:"version"`
	Boot     string        `json:"boot"` // see Config.Awake
	Removals []pastRemoval `json:"removals"`
}

type pastRemoval struct {
	Name   string        `json:"name"`
	Since  time.Time     `json:"since,omitzero"`
	Missed time.Time     `json:"missed"`
	At     time.Time     `json:"at"`
	Awake  time.Duration `json:"awake"` // of the host, at At
}

const pastVersion = 1

// pastMax is more than all removals of one window take, in bytes.
const pastMax = 16 << 20

// instant is a time by the clock, and for how long a boot's host had been awake.
type instant struct {
	wall  time.Time
	awake time.Duration
	boot  string
}

func (st *store) pastFile() string { return filepath.Join(st.dir, ".removals") }

// keepRemovals makes the disk hold the removals of the window.
func (st *store) keepRemovals(removed map[string]removal, now instant) error {
	if st.dir == "" || maps.Equal(removed, st.removed) {
		return nil
	}
	var err error
	if len(removed) == 0 {
		err = sealed.Remove(st.pastFile())
	} else {
		p := past{Version: pastVersion, Boot: now.boot}
		for _, name := range slices.Sorted(maps.Keys(removed)) {
			r := removed[name]
			p.Removals = append(p.Removals, pastRemoval{name, r.since, r.missed, r.at, now.awake - now.wall.Sub(r.at)})
		}
		err = sealed.Write(st.pastFile(), p)
	}
	if err != nil {
		return fmt.Errorf("keeping what was removed last: %w", err)
	}
	st.removed = removed
	return nil
}

// removals reads them. They count for what is left of the window, however the
// clock was set since; after a reboot, as long as they may. Those that can't be
// read are none.
func (st *store) removals(now instant) map[string]removal {
	var p past
	decode := func(data []byte) error { return json.Unmarshal(data, &p) }
	removed := map[string]removal{}
	if st.dir == "" {
		return removed
	}
	if _, err := sealed.Read(st.pastFile(), pastMax, decode); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			_ = sealed.Remove(st.pastFile()) // it would be read again
		}
		return removed
	}
	for _, g := range p.Removals {
		age := time.Duration(0)
		if p.Boot == now.boot {
			age = max(0, now.awake-g.Awake)
		}
		if age >= guardWindow {
			continue
		}
		r := removal{since: g.Since, missed: now.wall.Add(-age - g.At.Sub(g.Missed)), at: now.wall.Add(-age)}
		if !g.Since.IsZero() {
			r.since = r.at.Add(-g.At.Sub(g.Since))
		}
		removed[g.Name] = r
	}
	if st.removed = removed; len(removed) == 0 {
		_ = sealed.Remove(st.pastFile()) // else it is read once more
	}
	return removed
}
