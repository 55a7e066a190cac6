package desired

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Notes says what of the accepted sandboxes is allowed and most likely not meant,
// in the order of their names; Place gives them lines.
func (s *Set) Notes() (notes []Problem) {
	for _, name := range slices.Sorted(maps.Keys(s.Sandboxes)) {
		notes = append(notes, s.NotesOf(name)...)
	}
	return notes
}

// NotesOf are those of one accepted sandbox.
func (s *Set) NotesOf(name string) (notes []Problem) {
	sb := s.Sandboxes[name]
	if sb == nil {
		return nil
	}
	add := func(path, format string, args ...any) {
		notes = append(notes, Problem{File: sb.Source, Path: path, Name: name, Message: fmt.Sprintf(format, args...)})
	}
	if sb.Spec.State == Suspended {
		switch terminal := sb.Spec.WithTerminal(); {
		case terminal != "":
			add("spec.state", "can't come: gVisor can't restore the terminal of container %q; declare another state, or terminal: false", terminal)
		case sb.Spec.Network.Mode == NetworkHost:
			add("spec.state", "can't come: gVisor can't write a checkpoint of a sandbox with the host's network; declare another state, or network.mode: none")
		}
	}
	if limited, other := unlimitedCPU(&sb.Spec); other != "" {
		for _, path := range limited {
			add(path, "is not in force as long as container %q has no limits.cpu: the CPU of a sandbox is limited as a whole, to the sum of its containers' limits", other)
		}
	}
	missing, means := unlimitedByInit(&sb.Spec)
	for _, path := range missing {
		add(path, "%s", means[path])
	}
	for i, on := range sb.Spec.DependsOn {
		if other := s.Sandboxes[on]; other != nil && endsForGood(&other.Spec) {
			add(dependsOnPath(i), "every container of %q has restartPolicy Never or OnFailure, and when they have ended it is not ready any more: what is to be done first and ends is an init container's work", on)
		}
	}
	return notes
}

// unlimitedCPU gives every limits.cpu and a container that keeps them from being in
// force; empty: there is none.
func unlimitedCPU(spec *Spec) (limited []string, other string) {
	for _, list := range []string{"containers", "initContainers"} {
		containers := spec.Containers
		if list == "initContainers" {
			containers = spec.InitContainers
		}
		for i := range containers {
			switch c := &containers[i]; {
			case c.Resources.Limits.CPU == nil && other == "":
				other = c.Name
			case c.Resources.Limits.CPU != nil:
				limited = append(limited, fmt.Sprintf("spec.%s[%d].resources.limits.cpu", list, i))
			}
		}
	}
	if limited == nil {
		return nil, ""
	}
	return limited, other
}

// unlimitedByInit gives the fields that init containers lack where each container
// has them, with what follows: the sandbox as a whole has no such limit either.
func unlimitedByInit(spec *Spec) (missing []string, means map[string]string) {
	means = map[string]string{}
	onDisk := func(v Volume) bool { return v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil }
	for _, kind := range []struct {
		name, means string
		counts      bool
		of          func(*Container) *resource.Quantity
	}{
		{"memory", "the sandbox as a whole has no memory limit, though each of spec.containers has one: applications see the host's memory, and what belongs to no container is unbounded; each container is held to its own limit", true,
			func(c *Container) *resource.Quantity { return c.Resources.Limits.Memory }},
		{"ephemeral-storage", "emptyDirs without sizeLimit are not bounded, though each of spec.containers has a limit", slices.ContainsFunc(spec.Volumes, onDisk),
			func(c *Container) *resource.Quantity { return c.Resources.Limits.EphemeralStorage }},
	} {
		without := func(c Container) bool { return kind.of(&c) == nil }
		if !kind.counts || len(spec.Containers) == 0 || slices.ContainsFunc(spec.Containers, without) {
			continue
		}
		for i := range spec.InitContainers {
			if c := &spec.InitContainers[i]; without(*c) {
				path := fmt.Sprintf("spec.initContainers[%d].resources.limits.%s", i, kind.name)
				missing = append(missing, path)
				means[path] = fmt.Sprintf("init container %q has none, so %s", c.Name, kind.means)
			}
		}
	}
	return missing, means
}

// endsForGood says that a sandbox's containers are not run again when they have
// done their work.
func endsForGood(spec *Spec) bool {
	return len(spec.Containers) > 0 && !slices.ContainsFunc(spec.Containers, func(c Container) bool { return c.RestartPolicy == Always })
}
