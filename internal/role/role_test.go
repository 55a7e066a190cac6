package role

import "testing"

// What names no helper is the command line's. (The helpers themselves are
// started for real by the tests of the actuator.)
func TestNoRole(t *testing.T) {
	for _, args := range [][]string{nil, {"sandboxer"}, {"sandboxer", "umount"}, {"/proc/self/exe"}, {"/proc/self/exe", "daemon"}, {"sandboxer-goferx"}} {
		if status, ok := Run(args); ok || status != 0 {
			t.Errorf("%q is a helper", args)
		}
	}
}
