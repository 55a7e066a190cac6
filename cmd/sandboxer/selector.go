package main

import (
	"fmt"
	"strings"

	"sandboxer/internal/api"
)

// requirement is what a selector says of one label.
type requirement struct {
	key, value string
	any        bool // that it is there will do
	not        bool
}

// selector is what kubectl calls one: KEY=VALUE, KEY==VALUE, KEY!=VALUE, KEY and
// !KEY, with commas between.
type selector []requirement

func parseSelector(text string) (s selector, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		r := requirement{any: true}
		if key, value, ok := strings.Cut(part, "="); ok {
			r.any, r.value = false, strings.TrimSpace(strings.TrimPrefix(value, "="))
			key, r.not = strings.CutSuffix(key, "!")
			r.key = strings.TrimSpace(key)
		} else {
			r.key, r.not = strings.CutPrefix(part, "!")
		}
		if r.key == "" || strings.ContainsAny(r.key+r.value, " \t!=()") {
			return nil, fmt.Errorf("%q: want KEY=VALUE, KEY!=VALUE, KEY or !KEY, with commas between", text)
		}
		s = append(s, r)
	}
	return s, nil
}

// of reports whether a sandbox has such labels. As in kubectl, what has no such
// label has not that value of it either.
func (s selector) of(sandbox api.Sandbox) bool {
	for _, r := range s {
		value, there := sandbox.Labels[r.key]
		if (there && (r.any || value == r.value)) == r.not {
			return false
		}
	}
	return true
}

// pick gives the items that are so.
func (s selector) pick(items []api.Sandbox) (picked []api.Sandbox) {
	for _, i := range items {
		if s.of(i) {
			picked = append(picked, i)
		}
	}
	return picked
}
