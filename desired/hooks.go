package desired

import (
	"fmt"
	"strings"
	"time"
)

// Hooks are programs that the daemon runs on the host, as root, at points of a
// container's life. Names and meaning are OCI's; those of OCI's hooks that run
// inside a container gVisor does not have.
type Hooks struct {
	Prestart      []Hook `json:"prestart,omitempty"`
	CreateRuntime []Hook `json:"createRuntime,omitempty"`
	Poststart     []Hook `json:"poststart,omitempty"`
	Poststop      []Hook `json:"poststop,omitempty"`
}

// IsZero reports whether there are none.
func (h Hooks) IsZero() bool {
	return len(h.Prestart)+len(h.CreateRuntime)+len(h.Poststart)+len(h.Poststop) == 0
}

// Hook is one such program.
type Hook struct {
	Path string `json:"path"` // absolute
	// Args are all that the program gets, the name that it is called by
	// included; none: that is Path.
	Args []string `json:"args,omitempty"`
	// Env is the program's whole environment, NAME=VALUE each.
	Env []string `json:"env,omitempty"`
	// Timeout is in seconds; after defaults never nil.
	Timeout *int64 `json:"timeout,omitempty" jsonschema:"minimum=1"`
}

// Limit is how long the hook may take.
func (h Hook) Limit() time.Duration { return time.Duration(*h.Timeout) * time.Second }

// The hooks' time, in seconds: what one gets that declares none, and the most.
const (
	DefaultHookTimeout = 30
	MaxHookTimeout     = 24 * 60 * 60
)

// lists are the hooks by the field that holds them, in the order of a
// container's life.
func (h *Hooks) lists() []struct {
	name  string
	hooks []Hook
} {
	return []struct {
		name  string
		hooks []Hook
	}{{"prestart", h.Prestart}, {"createRuntime", h.CreateRuntime}, {"poststart", h.Poststart}, {"poststop", h.Poststop}}
}

func (h *Hooks) setDefaults() {
	for _, l := range h.lists() {
		for i := range l.hooks {
			hook := &l.hooks[i]
			hook.Path = cleanHost(hook.Path)
			if hook.Timeout == nil {
				hook.Timeout = new(int64(DefaultHookTimeout))
			}
		}
	}
}

func (c *checker) hooks(at string, h *Hooks) {
	for _, l := range h.lists() {
		for i, hook := range l.hooks {
			at := fmt.Sprintf("%s.%s[%d]", at, l.name, i)
			c.addIf(at+".path", hostPathFault(hook.Path))
			for j, arg := range hook.Args {
				c.addIf(fmt.Sprintf("%s.args[%d]", at, j), nulFault(arg))
			}
			for j, e := range hook.Env {
				at := fmt.Sprintf("%s.env[%d]", at, j)
				if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
					c.add(at, "%q is not NAME=VALUE", clip(e))
				}
				c.addIf(at, nulFault(e))
			}
			if t := *hook.Timeout; t < 1 || t > MaxHookTimeout {
				c.add(at+".timeout", "%d is out of range: 1 to %d seconds", t, MaxHookTimeout)
			}
		}
	}
}

// nulFault refuses what no program can be given.
func nulFault(s string) string {
	if strings.ContainsRune(s, 0) {
		return "contains a NUL byte"
	}
	return ""
}
