package actuator

import (
	"strings"
	"testing"

	"sandboxer/desired"
	"sandboxer/reconcile/plan"
)

// status is what the lines of /proc/self/status say, by their names.
func statusOf(text string) map[string]string {
	of := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		of[name] = strings.TrimSpace(value)
	}
	return of
}

// A user that is not root must not be able to do what only root can: as in a
// Pod, and as after an execve, no capability is in force.
func TestUserHasNoCapabilities(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name           string
		sc             desired.SecurityContext
		effective, bnd string
	}{
		{"root", desired.SecurityContext{}, "00000000a80405fb", "00000000a80405fb"},
		{"user", desired.SecurityContext{RunAsUser: new(int64(1000))}, "0000000000000000", "00000000a80405fb"},
		{"asked", desired.SecurityContext{RunAsUser: new(int64(1000)), Capabilities: desired.Capabilities{
			Drop: []string{"ALL"}, Add: []string{"NET_BIND_SERVICE"}}}, "0000000000000000", "0000000000000400"},
		{"raw", desired.SecurityContext{Capabilities: desired.Capabilities{
			Drop: []string{"ALL"}, Add: []string{"NET_RAW"}}}, "0000000000002000", "0000000000002000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := app(t, "read", "/proc/self/status")
			a.SecurityContext = c.sc
			d := plan.Declare(sandbox("user-"+c.name, a))
			r.run(d)
			got := statusOf(r.output(r.awaitEnded()))
			if got["CapEff"] != c.effective || got["CapPrm"] != c.effective || got["CapBnd"] != c.bnd {
				t.Errorf("effective %s, permitted %s, bounding %s; want %s, the same, %s",
					got["CapEff"], got["CapPrm"], got["CapBnd"], c.effective, c.bnd)
			}
		})
	}
}
