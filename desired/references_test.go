package desired

import (
	"maps"
	"testing"
)

func TestReferences(t *testing.T) {
	variables := map[string]string{"A": "one", "B": "$(A)", "EMPTY": "", "a.b-c": "odd", "D": "$"}
	for text, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "one", "x$(A)y$(A)z": "xoneyonez", "$(B)": "$(A)", "$(EMPTY)": "", "$(a.b-c)": "odd",
		"$(NONE)": "$(NONE)", "$$(A)": "$(A)", "$$$(A)": "$one", "$$$$(A)": "$$(A)", "$A": "$A", "$": "$", "$$": "$", "a$": "a$",
		"$(A": "$(A", "$(A$(A)": "$(A$(A)", "$()": "$()", "${A}": "${A}", "$(D)(A)": "$(A)", "$(A)$": "one$", "$ (A)": "$ (A)",
	} {
		if got := ExpandOne(text, variables); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	c := Container{Env: []EnvVar{{Name: "LATE", Value: "$(A)"}, {Name: "A", Value: "1"}, {Name: "F", ValueFrom: &EnvSource{File: "/f"}},
		{Name: "B", Value: "$(A)$(F)$(B)"}}}
	if got := c.LiteralEnv(); !maps.Equal(got, map[string]string{"LATE": "$(A)", "A": "1", "B": "1$(F)$(B)"}) {
		t.Errorf("literal variables are %q", got)
	}
}
