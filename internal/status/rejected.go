package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// shownProblems bounds how many faults of one document a message lists.
const shownProblems = 5

func problemText(list []desired.Problem) string {
	var lines []string
	for i, p := range list {
		if i == shownProblems {
			lines = append(lines, fmt.Sprintf("and %d more (sandboxer validate lists all)", len(list)-i))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "; ")
}

// Rejected gives an item for every document that was never accepted, sorted by
// name: under the name that it carries or, where it has none, under its file's.
// A missing directory is shown in the same way. accepted holds the names that
// have an accepted version: what is wrong with those is a condition of theirs.
// before is what Rejected gave last time: conditions that go on keep their date.
func Rejected(problems []desired.Problem, accepted func(name string) bool, before []api.Sandbox, now time.Time) []api.Sandbox {
	found := map[string][]desired.Problem{}
	for _, p := range problems {
		name := p.Name
		if name == "" {
			name = p.File
		} else if accepted(name) {
			continue
		}
		found[name] = append(found[name], p)
	}
	began := map[string]time.Time{}
	for _, b := range before {
		if len(b.Status.Conditions) > 0 {
			began[b.Name] = b.Status.Conditions[0].Since
		}
	}
	items := []api.Sandbox{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		text, since := problemText(found[name]), now
		if at, ok := began[name]; ok {
			since = at
		}
		items = append(items, api.Sandbox{Name: name, Source: found[name][0].File, Status: api.Status{
			Phase: api.Invalid, Reason: api.ManifestRejected, Message: text, Containers: []api.Container{},
			Conditions: []api.Condition{{Type: api.ManifestRejected, Status: "True", Reason: "NeverAccepted",
				Message: text, Since: since}}}})
	}
	return items
}

// Describe puts together everything about one sandbox. list is its events,
// oldest first; the last api.DescribeEvents are taken.
func Describe(s api.Sandbox, p reconcile.Pass, list []events.Event) api.Description {
	d := api.Description{Sandbox: s, Pending: Actions(p.Pending), NextTry: instant(p.Again),
		Events: list[max(0, len(list)-api.DescribeEvents):]}
	if d.Events == nil {
		d.Events = []events.Event{}
	}
	if p.Declared != nil {
		d.Spec = &p.Declared.Spec
	}
	return d
}

// Actions gives actions in the API's form, in their order.
func Actions(list []plan.Action) []api.Action {
	out := []api.Action{}
	for _, a := range list {
		out = append(out, api.Action{Sandbox: a.Sandbox, Container: a.Container, Action: string(a.Verb),
			Reason: a.Reason, Class: a.Class})
	}
	return out
}
