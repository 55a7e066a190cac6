package status

import (
	"slices"
	"strings"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/reconcile/plan"
)

// Updates says, as actions, what is declared otherwise in is than in was: all
// that changes in place, and of the rest what none of actions, those that the
// change leads to, says already. Either may be nil.
func Updates(was, is *desired.Sandbox, actions []plan.Action) []api.Action {
	if was == nil || is == nil {
		return nil
	}
	var list []api.Action
	for _, c := range desired.Changes(was, is) {
		said := slices.ContainsFunc(actions, func(a plan.Action) bool {
			return a.Class == string(c.Class) && (c.Container == "" || c.Container == a.Container)
		})
		if said && c.Class != desired.ClassInPlace {
			continue
		}
		list = append(list, api.Action{Sandbox: is.Name, Container: c.Container, Action: "update", Class: string(c.Class),
			Reason: strings.Join(c.Fields, ", ") + " changed" + afterwards[c.Class]})
	}
	return list
}

// afterwards is what a change comes down to where nothing else says so.
var afterwards = map[desired.Class]string{
	desired.ClassInPlace:   "; no process is touched for it, but as another action here says",
	desired.ClassContainer: "; the container is made anew when it runs next",
	desired.ClassSandbox:   "; the sandbox is made anew when it runs next",
}
