package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
)

// redacted stands where a value was.
const redacted = "REDACTED"

// leastScrubbed is how long a value must be to be looked for in messages: what is
// shorter stands in words that are none of it.
const leastScrubbed = 6

// redactor takes out what may be a secret: first of specifications, and what it has
// met there of messages.
type redactor struct {
	withEnv bool // literal values of variables stay
	values  map[string]bool
	all     *strings.Replacer // of values; nil: they have changed
	hashes  map[string]string // of specifications: what stands for each
}

// hide is what is shown of a value. What is empty is no secret.
func (r *redactor) hide(value string) string {
	if value == "" {
		return ""
	}
	if r.values == nil {
		r.values = map[string]bool{}
	}
	r.all = nil
	for _, part := range append(strings.Split(value, "\n"), value) {
		if part = strings.TrimSpace(part); len(part) >= leastScrubbed {
			r.values[part] = true
		}
	}
	return redacted
}

// spec takes values of variables, of headers and of hooks' variables and the
// content of files out of a specification.
func (r *redactor) spec(s *desired.Spec) {
	if s == nil {
		return
	}
	for _, v := range s.Volumes {
		for name, content := range v.Files {
			if v.Files[name] = r.hide(content); content != "" {
				v.Files[name] += fmt.Sprintf(" (%d bytes)", len(content))
			}
		}
	}
	for _, list := range [][]desired.Container{s.InitContainers, s.Containers} {
		for i := range list {
			r.container(&list[i])
		}
	}
}

func (r *redactor) container(c *desired.Container) {
	for i := range c.Env {
		if !r.withEnv {
			c.Env[i].Value = r.hide(c.Env[i].Value)
		}
	}
	for _, p := range []*desired.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			r.headers(p.HTTPGet)
		}
	}
	if p := c.Lifecycle.PreStop; p != nil {
		r.headers(p.HTTPGet)
	}
	for _, hooks := range [][]desired.Hook{c.Hooks.Prestart, c.Hooks.CreateRuntime, c.Hooks.Poststart, c.Hooks.Poststop} {
		for _, h := range hooks {
			for i, e := range h.Env {
				name, value, _ := strings.Cut(e, "=")
				h.Env[i] = name + "=" + r.hide(value)
			}
		}
	}
}

func (r *redactor) headers(a *desired.HTTPGetAction) {
	if a == nil {
		return
	}
	for i := range a.HTTPHeaders {
		a.HTTPHeaders[i].Value = r.hide(a.HTTPHeaders[i].Value)
	}
}

// text is a message without the values that were taken out so far.
func (r *redactor) text(s string) string {
	if r.all == nil {
		// The longest first: one may be in another.
		longest := slices.SortedFunc(maps.Keys(r.values), func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
		var pairs []string
		for _, v := range longest {
			pairs = append(pairs, v, redacted)
			// The log quotes messages, and they quote what was said.
			if once := quote(v); once != v {
				pairs = append(pairs, quote(once), redacted, once, redacted)
			}
		}
		r.all = strings.NewReplacer(pairs...)
	}
	return specHash.ReplaceAllStringFunc(r.all.Replace(s), r.mark)
}

// quote is a value as it stands between quotes.
func quote(v string) string {
	q := fmt.Sprintf("%q", v)
	return q[1 : len(q)-1]
}

// specHash is the hash of a specification, as messages have it.
var specHash = regexp.MustCompile(`\b[0-9a-f]{16}\b`)

// mark stands for the hash of a specification, wherever it is: a hash and all the
// rest of the specification would let somebody try values until one fits.
func (r *redactor) mark(hash string) string {
	if r.hashes == nil {
		r.hashes = map[string]string{}
	}
	if hash != "" && r.hashes[hash] == "" {
		r.hashes[hash] = fmt.Sprintf("HASH-%d", len(r.hashes)+1)
	}
	return r.hashes[hash]
}

// sandbox takes such values out of what a sandbox says of itself.
func (r *redactor) sandbox(s *api.Sandbox) {
	s.Status.Message, s.Status.SpecHash = r.text(s.Status.Message), r.mark(s.Status.SpecHash)
	for i := range s.Status.Conditions {
		c := &s.Status.Conditions[i]
		c.Message = r.text(c.Message)
	}
	for _, list := range [][]api.Container{s.Status.InitContainers, s.Status.Containers} {
		for i := range list {
			list[i].Message = r.text(list[i].Message)
		}
	}
}

// description does so with all that is said of a sandbox. Its specification must
// have been redacted.
func (r *redactor) description(d *api.Description) {
	r.sandbox(&d.Sandbox)
	for i := range d.Notes {
		d.Notes[i] = r.text(d.Notes[i])
	}
	for i := range d.Pending {
		d.Pending[i].Reason = r.text(d.Pending[i].Reason)
	}
	r.events(d.Events)
}

func (r *redactor) events(list []events.Event) {
	for i := range list {
		list[i].Message, list[i].Revision = r.text(list[i].Message), r.mark(list[i].Revision)
	}
}

// state does so with what the daemon says of itself.
func (r *redactor) state(s *api.DebugState) {
	s.NotReady = r.text(s.NotReady)
	for i := range s.Sandboxes {
		s.Sandboxes[i].LookError = r.text(s.Sandboxes[i].LookError)
		if rec := s.Sandboxes[i].Record; rec != nil {
			rec.ProbeError, rec.Broken = r.text(rec.ProbeError), r.text(rec.Broken)
			for _, said := range []map[string]string{rec.BrokenContainers, rec.Damaged} {
				for of, message := range said {
					said[of] = r.text(message)
				}
			}
		}
	}
}
