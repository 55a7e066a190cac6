package status

import (
	"testing"

	"sandboxer/internal/api"
	"sandboxer/reconcile/plan"
)

// While a container runs again, it is known how it ended before; one that has
// ended says so itself.
func TestLastExit(t *testing.T) {
	in := base(nil)
	in.Pass.Memory.Containers["app"] = plan.ContainerMemory{Live: "web.app.1", Seen: "web.app.0", Restarts: 1, Exit: exit(3, "Error")}
	unknown := *exit(0, "Unknown")
	unknown.Known = false
	in.Pass.Memory.Containers["aid"] = plan.ContainerMemory{Live: "web.aid.1", Seen: "web.aid.0", Restarts: 1, Exit: &unknown}
	list := boxes(in)
	if e := list[0].LastExit; e == nil || e.ID != "web.app.0" || e.ExitCode == nil || *e.ExitCode != 3 || e.Reason != "Error" || !e.FinishedAt.Equal(exit(3, "").At) {
		t.Errorf("the last end of app is %+v", e)
	}
	if e := list[1].LastExit; e == nil || e.ExitCode != nil || e.Reason != "Unknown" {
		t.Errorf("the last end of aid is %+v", e)
	}
	ends(&in, 0, exit(4, "Error"), 0)
	if c := boxes(in)[0]; c.LastExit != nil || *c.ExitCode != 4 {
		t.Errorf("one that has ended: %+v", c)
	}
	if e := boxes(base(nil))[0].LastExit; e != nil {
		t.Errorf("one that never ended: %+v", e)
	}
}

func boxes(in Input) []api.Container {
	s, _ := Of(in)
	return s.Status.Containers
}
