package status

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// Input is all that Of looks at.
type Input struct {
	Pass reconcile.Pass
	// Problems are those of the rejected documents that carry the sandbox's
	// name; none: nothing is rejected.
	Problems []desired.Problem
	// Held says why the sandbox's removal is held, by the deletion guard or
	// because its absence can't be trusted; empty: it is not.
	Held string
	// OutputLost says which container's output is being lost, and why; empty:
	// none is.
	OutputLost string
	// Before is what Of gave last time; zero where there was none. Conditions
	// that go on keep their date, and what can't be seen now stays as it was.
	Before api.Sandbox
	Now    time.Time
}

// Of says what users see of one sandbox. The second result is false where
// there is nothing to see: nothing is declared and nothing is left.
func Of(in Input) (api.Sandbox, bool) {
	if in.Before.Status.Phase == api.Invalid {
		in.Before.Status.Phase = "" // a document's item, no sandbox's
	}
	v := view{Input: in, d: in.Pass.Declared, o: &in.Pass.Observed, mem: in.Pass.Memory}
	if v.d == nil && !in.Pass.Blind && v.nothing() {
		return api.Sandbox{}, false
	}
	s := api.Sandbox{Name: in.Pass.Name, Source: in.Before.Source}
	if v.d != nil {
		s.Source, s.DesiredState, s.Labels = v.d.Source, string(v.d.Spec.State), v.d.Labels
	} else if len(in.Problems) > 0 {
		s.Source = in.Problems[0].File
	}
	if in.Pass.Blind {
		s.Status = in.Before.Status // the world has not changed, only our sight of it
		s.Status.Ready = false
		if s.Status.Phase == "" {
			s.Status.Phase = api.Pending
		}
	} else {
		s.Status = v.status()
	}
	if v.d != nil {
		s.Status.SpecHash, s.Status.Runtime = v.d.SpecHash, v.d.Spec.Runtime
	}
	s.Status.Conditions = v.conditions()
	if s.Status.Containers == nil {
		s.Status.Containers = []api.Container{}
	}
	explain(&s.Status, in.Pass.Blind)
	v.explainUnready(&s.Status)
	return s, true
}

// view is one call of Of.
type view struct {
	Input
	d   *plan.Declared
	o   *observed.Sandbox
	mem plan.Memory
}

// nothing reports whether a look found nothing at all.
func (v *view) nothing() bool {
	o := v.o
	return o.Record == nil && o.Broken == "" && o.Image == nil && o.Sentry != observed.Alive && !o.CgroupExists &&
		o.CgroupProcs == 0 && len(o.Containers) == 0 && len(o.BrokenContainers) == 0 && len(o.Scores) == 0
}

// alive reports whether the sandbox's sentry runs and was made to the end.
func (v *view) alive() bool {
	if v.o.Record == nil || v.o.Sentry != observed.Alive {
		return false
	}
	switch v.o.Record.State {
	case observed.SandboxCreating, observed.SandboxStopping, observed.SandboxStopped:
		return false
	}
	return true
}

func (v *view) status() api.Status {
	s := api.Status{}
	if r := v.o.Record; r != nil {
		s.Runtime = r.Runtime
		if v.o.CgroupExists {
			s.Cgroup = r.Cgroup
		}
		if v.o.Sentry == observed.Alive {
			s.SandboxPID, s.GVisor = r.Sentry.PID, r.GVisor
			s.CreatedAt = instant(r.CreatedAt)
			for _, score := range v.o.Scores {
				if score.PID == r.Sentry.PID {
					s.OOMScoreAdj = new(score.Value)
				}
			}
		}
	}
	s.InitContainers, s.Containers = v.initContainers(), v.containers()
	s.Phase, s.Reason, s.Message = v.phase(s.All())
	s.Ready = s.Phase == api.Running && !v.o.Unresponsive && v.d != nil && allReady(s.Containers)
	if s.Ready {
		_, failed := v.failures(s.Containers)
		s.Ready = failed == ""
	}
	return s
}

// instant is t, or nil where it is not known.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// conditions are those of the pass and of the documents, each with the date
// since when it holds.
func (v *view) conditions() []api.Condition {
	list := []api.Condition{}
	add := func(typ, reason, message string) {
		since := v.Now
		for _, c := range v.Before.Status.Conditions {
			if c.Type == typ {
				since = c.Since
			}
		}
		list = append(list, api.Condition{Type: typ, Status: "True", Reason: reason, Message: message, Since: since})
	}
	for _, c := range v.Pass.Conditions {
		if c.Type == api.RuntimeUnreachable {
			if v.Pass.LookErr != nil {
				c.Message += ": " + v.Pass.LookErr.Error()
			} else if v.o.ProbeError != "" {
				c.Message += ": " + v.o.ProbeError
			}
		}
		add(c.Type, c.Reason, c.Message)
	}
	if len(v.Problems) > 0 {
		add(api.ManifestRejected, "ManifestRejected", problemText(v.Problems))
	}
	if v.Held != "" {
		add(api.DeletionHeld, "DeletionHeld", v.Held)
	}
	if v.OutputLost != "" {
		add(api.OutputLost, "LogNotWritable", v.OutputLost)
	}
	slices.SortStableFunc(list, func(a, b api.Condition) int { return cmp.Compare(a.Type, b.Type) })
	return list
}

// explain lets a condition speak where nothing more pressing does: what is
// wrong must show in a table. What only the user can settle, a document that
// was rejected and a deletion that is held, is told in any case.
func explain(s *api.Status, blind bool) {
	order := []string{api.RuntimeUnreachable, api.ManifestRejected, api.DeletionHeld, api.Unsupported, plan.StartBlocked}
	rank := func(c api.Condition) int {
		if i := slices.Index(order, c.Type); i >= 0 {
			return i
		}
		return len(order)
	}
	if (s.Reason == "" || blind) && len(s.Conditions) > 0 {
		c := slices.MinFunc(s.Conditions, func(a, b api.Condition) int { return cmp.Compare(rank(a), rank(b)) })
		s.Reason, s.Message = c.Type, c.Message
	}
	for _, c := range s.Conditions {
		if (c.Type == api.ManifestRejected || c.Type == api.DeletionHeld) && c.Type != s.Reason {
			s.Message = strings.TrimPrefix(s.Message+"; "+c.Type+": "+c.Message, "; ")
		}
	}
}
