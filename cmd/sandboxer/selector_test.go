package main

import (
	"strings"
	"testing"

	"sandboxer/internal/api"
)

func TestSelector(t *testing.T) {
	items := []api.Sandbox{
		{Name: "web", Labels: map[string]string{"tier": "front", "env": "prod"}},
		{Name: "dev", Labels: map[string]string{"tier": "front", "env": ""}},
		{Name: "db", Labels: map[string]string{"tier": "back", "sandboxer.io/x": "1"}},
		{Name: "none"},
	}
	for text, want := range map[string]string{
		"":                      "web dev db none",
		"tier=front":            "web dev",
		"tier==front,env=prod":  "web",
		" tier = front , env ":  "web dev",
		"tier!=front":           "db none",
		"tier,tier!=front":      "db",
		"env=":                  "dev",
		"!tier":                 "none",
		"sandboxer.io/x=1":      "db",
		"tier=front,!env":       "",
		"=front":                "error",
		"tier in (front, back)": "error",
		",":                     "error",
		"tier=!front":           "error",
		"!":                     "error",
	} {
		s, err := parseSelector(text)
		var names []string
		for _, i := range s.pick(items) {
			names = append(names, i.Name)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q picks %q, not %q", text, got, want)
		}
	}
}
