// Package filters carries the seccomp programs of sentries and gofers, built
// ahead of time where the binary was built with them: make does, with the build
// tag precompiled and the file programs.go that internal/filters/gen writes.
// gVisor builds such a program at every start otherwise, which takes longer than
// the rest of a gofer's start. A binary without them works the same.
package filters

import (
	"runtime/debug"

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
)

// Programs are seccomp programs by the key that gVisor gives to the options
// that they are for. It has to build the ones that are not among them.
type Programs map[string]precompiledseccomp.Program

// Sentry are the programs of sentries.
func Sentry() Programs { return current(sentry) }

// Gofer are the programs of gofers.
func Gofer() Programs { return current(gofer) }

// current are no programs at all where they come from another gVisor's rules
// than those that are linked.
func current(programs func() Programs) Programs {
	if builtFor != GVisor() {
		return nil
	}
	return programs()
}

// GVisor is the version of gVisor that is linked.
func GVisor() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == "gvisor.dev/gvisor" {
			if m.Replace != nil {
				return m.Replace.Path + "@" + m.Replace.Version
			}
			return m.Version
		}
	}
	return ""
}
