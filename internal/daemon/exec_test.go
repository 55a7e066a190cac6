package daemon

import (
	"testing"

	"sandboxer/actuator"
	"sandboxer/internal/api"
	"sandboxer/internal/status"
)

// The state that is in the way is said, also where the status does not show it
// yet.
func TestInTheWay(t *testing.T) {
	code := 3
	for shown, want := range map[string]string{
		"running": `container "app" of sandbox "web" does not run: it has just ended`,
		"stopped": `container "app" of sandbox "web" does not run: it is stopped (Error, exit code 3)`,
	} {
		d := &daemon{board: status.NewBoard()}
		c := api.Container{Name: "app", State: shown}
		if shown == "stopped" {
			c.Reason, c.ExitCode = "Error", &code
		}
		d.board.Set(api.Sandbox{Name: "web", Status: api.Status{Phase: api.Running, Containers: []api.Container{c}}})
		if err := d.inTheWay("web", "app", &actuator.StateError{State: "stopped"}); err.Error() != want {
			t.Errorf("shown as %s: %v", shown, err)
		}
	}
}
