package api

import (
	"strings"
	"testing"
)

// An init container can be named; where none is, it is not meant.
func TestChooseContainerBesideInit(t *testing.T) {
	one := Sandbox{Name: "web", Status: Status{InitContainers: []Container{{Name: "make"}}, Containers: []Container{{Name: "app"}}}}
	two := one
	two.Status.Containers = []Container{{Name: "app"}, {Name: "aid"}}
	for _, tt := range []struct {
		in         Sandbox
		name, want string
		fault      string
	}{
		{one, "", "app", ""},
		{one, "make", "make", ""},
		{one, "none", "", "it has: app, make"},
		{two, "", "", "say which: web/app, web/aid"},
	} {
		got, err := chooseContainer(tt.in, tt.name)
		if got != tt.want || (err == nil) != (tt.fault == "") || err != nil && !strings.HasSuffix(err.Error(), tt.fault) {
			t.Errorf("%q: %q, %v", tt.name, got, err)
		}
	}
}
