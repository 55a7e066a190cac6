package daemon

import (
	"log/slog"
	"slices"

	"github.com/go-logr/logr"

	"sandboxer/internal/api"
	"sandboxer/reconcile/plan"
)

// warn logs what an operator should look at. logr has no such level: what it was
// made of has.
func (d *daemon) warn(message string, pairs ...any) {
	slog.New(logr.ToSlogHandler(d.c.Log)).Warn(message, pairs...)
}

// troubles are what the log has told of sandboxes that do not come up: each once,
// and not each further try. Guarded by daemon.publishing.
type troubles map[string]string

// tell says whether a sandbox's trouble is another one than was told last. One is
// over once nothing of it is remembered that failed.
func (t troubles) tell(s api.Sandbox, m plan.Memory) bool {
	is := ""
	if s.Status.Phase == api.Failed || s.Status.Reason == api.CrashLoopBackOff {
		is = s.Status.Reason + " " + s.Status.SpecHash
	}
	switch {
	case is == "":
		if !failing(m) {
			delete(t, s.Name)
		}
		return false
	case t[s.Name] == is:
		return false
	}
	t[s.Name] = is
	return true
}

// failing says whether a start or a creation that failed still counts.
func failing(m plan.Memory) bool {
	for _, c := range m.Containers {
		if c.Attempts > 0 {
			return true
		}
	}
	return m.CreateFailures > 0
}

// warnHeld tells of removals that are held, and of what keeps all others from
// counting, where the set before did not.
func (d *daemon) warnHeld(before, now map[string]string, blockedBefore, blocked string) {
	var told []string
	for name, why := range now {
		if before[name] != why && !slices.Contains(told, why) {
			told = append(told, why)
			d.warn("removals are held", "reason", why)
		}
	}
	if blocked != "" && blocked != blockedBefore {
		d.warn("nothing is removed at present", "reason", blocked)
	}
}
