package desired

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"sandboxer/internal/sealed"
)

// look scans once and publishes what follows. It returns when the next scan
// is due, zero for no particular time. A removal that is held now and was not
// before is kept first: what a user sees held must not go ahead after a crash.
func (d *Directory) look(changed func(names []string), keep func()) time.Time {
	sc := d.scanner.scan()
	d.mu.Lock()
	sc.confirmed, d.confirmed = d.confirmed, map[string]bool{}
	unstored := d.unstored
	d.mu.Unlock()
	d.addStoreProblems(&sc, unstored)

	awake, boot := d.cfg.Awake()
	if d.at = (instant{sc.at, awake, boot}); d.latest.Load() == nil {
		d.state.removed = d.store.removals(d.at)
	}
	out := decide(rules{settle: d.cfg.Settle, guard: d.cfg.DeletionGuard, most: mostProblems}, d.state, sc)
	held := newlyHeld(d.state, out.state)
	d.state = out.state
	if held {
		keep()
	}
	d.forgetLost()
	before := d.latest.Load()
	names, differs := changes(before, out.set)
	d.latest.Store(out.set)
	if differs {
		d.report(before, out.set)
		changed(names)
	}
	d.reportWatch()
	return out.wake
}

func newlyHeld(before, now state) bool {
	for name, e := range now.entries {
		if e.held && !before.entries[name].held {
			return true
		}
	}
	return false
}

// addStoreProblems tells what the store could not read or write. A stored
// document that is damaged may be the only trace of a running sandbox, so it
// blocks all removals until the manifest is there again.
func (d *Directory) addStoreProblems(sc *scan, unstored error) {
	for _, name := range slices.Sorted(maps.Keys(d.lost)) {
		path := d.store.path(name)
		sc.problems = append(sc.problems, Problem{File: path, Name: name, Message: fmt.Sprintf(
			"the accepted manifest cannot be read: %s; no removal is carried out until its manifest is accepted anew or this file is deleted",
			reason(d.lost[name]))})
		sc.blocked = append(sc.blocked, path+": the accepted manifest cannot be read")
	}
	if unstored != nil {
		sc.problems = append(sc.problems, Problem{File: d.cfg.Store, Message: fmt.Sprintf(
			"accepted manifests are in force but not kept for a restart: %v", unstored)})
	}
}

// forgetLost drops the damaged documents that were replaced or deleted.
func (d *Directory) forgetLost() {
	for name := range d.lost {
		_, accepted := d.state.entries[name]
		_, err := os.Lstat(d.store.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			_ = sealed.Remove(d.store.path(name)) // else its copy is found damaged at the next start
		}
		if accepted || errors.Is(err, fs.ErrNotExist) {
			delete(d.lost, name)
			d.Rescan() // what it blocked may go on
		}
	}
}

// report logs what an operator wants to know of a change, each thing once:
// when it begins and when it ends.
func (d *Directory) report(before, now *Set) {
	if before == nil {
		before = &Set{}
	}
	log := d.cfg.Log
	for _, p := range before.Missing(now.Problems) {
		log.Info("manifest problem", "sandbox", p.Name, "reason", p.String())
	}
	for _, p := range now.Missing(before.Problems) {
		log.Info("manifest problem gone", "sandbox", p.Name, "reason", p.String())
	}
	switch {
	case now.Blocked != "" && now.Blocked != before.Blocked:
		log.Info("removals wait for what cannot be read", "reason", now.Blocked)
	case now.Blocked == "" && before.Blocked != "":
		log.Info("removals go on", "reason", "everything can be read again")
	}
	held := map[string]int{} // by why: that is the same for all that were held at once
	for name, why := range now.Held {
		if before.Held[name] == "" {
			held[why]++
		}
	}
	for _, why := range slices.Sorted(maps.Keys(held)) {
		log.Info("removals held", "sandboxes", held[why], "reason", why)
	}
	for _, name := range slices.Sorted(maps.Keys(now.Sandboxes)) {
		if s := now.Sandboxes[name]; before.Sandboxes[name] != s {
			log.V(1).Info("declared", "sandbox", name, "reason", "accepted from "+s.Source)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.Sandboxes)) {
		if now.Sandboxes[name] == nil {
			log.Info("no longer declared", "sandbox", name, "reason", "its document is gone from "+before.Sandboxes[name].Source)
		}
	}
}

// reportWatch logs the first of a series of failures to watch.
func (d *Directory) reportWatch() {
	err := d.scanner.watch.failure()
	if err != nil && d.unwatched == nil {
		d.cfg.Log.Error(err, "some manifest changes are seen at the resync only")
	}
	d.unwatched = err
}
