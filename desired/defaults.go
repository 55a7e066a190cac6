package desired

import (
	"path"
	"strings"
	"time"
)

// The defaults that need a name elsewhere too.
const (
	defaultGrace  = 30 // seconds
	defaultSignal = "SIGTERM"
)

// DefaultPath is where the command of a container is looked for that declares no
// PATH.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// setDefaults fills in what the document leaves out, and gives every value
// that can be written in several ways its one canonical form.
func setDefaults(s *Sandbox) {
	sp := &s.Spec
	fill(&sp.State, Running)
	fill(&sp.Runtime, RuntimeGVisor)
	fill(&sp.Hostname, s.Name)
	fill(&sp.RestartPolicy, Always)
	fill(&sp.RestartBackoff.Initial, Duration(time.Second))
	fill(&sp.RestartBackoff.Max, max(Duration(5*time.Minute), sp.RestartBackoff.Initial))
	fill(&sp.RestartBackoff.ResetAfter, Duration(10*time.Minute))
	fill(&sp.Network.Mode, NetworkNone)
	if sp.TerminationGracePeriodSeconds == nil {
		grace := int64(defaultGrace)
		sp.TerminationGracePeriodSeconds = &grace
	}
	sp.RestoreFrom = cleanHost(sp.RestoreFrom)
	literal := map[string]bool{}
	for i := range sp.Volumes {
		v := &sp.Volumes[i]
		literal[v.Name] = v.Files != nil
		if v.HostPath != nil {
			v.HostPath.Path = cleanHost(v.HostPath.Path)
		}
	}
	for i := range sp.InitContainers {
		setInitDefaults(&sp.InitContainers[i], literal)
	}
	for i := range sp.Containers {
		setContainerDefaults(&sp.Containers[i], sp.RestartPolicy, literal)
	}
}

// setContainerDefaults gets the names of the volumes with literal content:
// those are mounted read-only whatever the mount says.
func setContainerDefaults(c *Container, policy RestartPolicy, literal map[string]bool) {
	fill(&c.RestartPolicy, policy)
	for _, p := range []*Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		setProbeDefaults(p)
	}
	if p := c.Lifecycle.PreStop; p != nil {
		setHTTPDefaults(p.HTTPGet)
	}
	fill(&c.Lifecycle.StopSignal, defaultSignal)
	if name, ok := canonicalSignal(c.Lifecycle.StopSignal); ok {
		c.Lifecycle.StopSignal = name
	}
	if c.Rootfs != nil {
		c.Rootfs.Path = cleanHost(c.Rootfs.Path)
	}
	c.Bundle = cleanHost(c.Bundle)
	c.Hooks.setDefaults()
	c.ConsoleSocket, c.PIDFile, c.UserLog = cleanHost(c.ConsoleSocket), cleanHost(c.PIDFile), cleanHost(c.UserLog)
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			from.File = cleanHost(from.File)
		}
	}
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		// A ".." leads nowhere above the container's own root.
		if path.IsAbs(m.MountPath) {
			m.MountPath = path.Clean(m.MountPath)
		}
		m.ReadOnly = m.ReadOnly || literal[m.Name]
	}
	for _, caps := range [][]string{c.SecurityContext.Capabilities.Add, c.SecurityContext.Capabilities.Drop} {
		for i, name := range caps {
			caps[i] = strings.ToUpper(name)
		}
	}
}

func fill[T comparable](field *T, value T) {
	var unset T
	if *field == unset {
		*field = value
	}
}

// cleanHost removes doubled and trailing slashes from a host path. One with
// ".." is left for the check to refuse: what it means depends on links.
func cleanHost(p string) string {
	if !path.IsAbs(p) || hasDotDot(p) {
		return p
	}
	return path.Clean(p)
}

func hasDotDot(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}
