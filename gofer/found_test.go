package gofer

import "testing"

func TestIDOf(t *testing.T) {
	for _, c := range []struct {
		args   []string
		id     string
		keeper bool
	}{
		{[]string{Arg0, "web.app.1"}, "web.app.1", false},
		{[]string{KeeperArg0 + "web.app.1"}, "web.app.1", true},
		{[]string{Arg0}, "", false},
		{[]string{"/bin/sh", "web.app.1"}, "", false},
		{nil, "", false},
	} {
		if id, keeper := IDOf(c.args); id != c.id || keeper != c.keeper {
			t.Errorf("%q: %q, %v", c.args, id, keeper)
		}
	}
}
