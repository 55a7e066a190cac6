package desired

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// checker collects what is wrong with a decoded document, field by field. It
// knows no lines: the walker does.
type checker struct{ faults []fault }

func (c *checker) add(path, format string, args ...any) {
	c.faults = append(c.faults, fault{path: path, message: fmt.Sprintf(format, args...)})
}

// missing reports what ought to be at path.
func (c *checker) missing(path, message string) {
	c.faults = append(c.faults, fault{path: path, message: message, missing: true})
}

// addIf reports message unless it is empty.
func (c *checker) addIf(path, message string) {
	if message != "" {
		c.add(path, "%s", message)
	}
}

// oneOf checks a value against a closed list.
func oneOf[T ~string](c *checker, path string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	c.add(path, "%q is not one of %s%s", clip(string(value)), strings.Join(names, ", "), Suggest(string(value), names))
}

func (c *checker) sandbox(s *Sandbox) {
	switch {
	case s.Name == "":
		c.add("metadata.name", "required")
	case !isDNSLabel(s.Name):
		c.add("metadata.name", "%q is no DNS label: %s", clip(s.Name), labelRule)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		at := join("metadata.labels", key)
		c.addIf(at, labelKeyFault(key))
		if !isLabelWord(s.Labels[key]) {
			c.add(at, "%q is no label value: at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends", clip(s.Labels[key]))
		}
	}
	c.spec(&s.Spec)
	// The default is the name, whose fault is reported already.
	if h := s.Spec.Hostname; h != s.Name && !isHostname(h) {
		c.add("spec.hostname", "%q is no host name: DNS labels with dots between, at most %d characters", clip(h), maxHostname)
	}
}

func (c *checker) spec(s *Spec) {
	oneOf(c, "spec.state", s.State, Running, Paused, Stopped, Suspended, Created)
	if s.Runtime != RuntimeGVisor {
		c.add("spec.runtime", "%q is %s: only %q", clip(s.Runtime), notYet, RuntimeGVisor)
	}
	oneOf(c, "spec.restartPolicy", s.RestartPolicy, Always, OnFailure, Never)
	c.backoff(s.RestartBackoff)
	if g := *s.TerminationGracePeriodSeconds; g < 0 || g > math.MaxInt32 {
		c.add("spec.terminationGracePeriodSeconds", "%d is out of range: 0 to %d", g, math.MaxInt32)
	}
	if m := s.Network.Mode; m != NetworkNone && m != NetworkHost {
		c.add("spec.network.mode", "the network %q is %s: only none and host%s", clip(m), notYet, Suggest(m, []string{NetworkNone, NetworkHost}))
	}
	if s.RestoreFrom != "" {
		c.addIf("spec.restoreFrom", hostPathFault(s.RestoreFrom))
	}
	volumes := c.volumes(s.Volumes)
	c.dependsOn(s.DependsOn)
	if len(s.Containers) == 0 {
		c.missing("spec.containers", "required: at least one container")
	}
	pidFiles := map[string]bool{}
	c.shared("spec.initContainers", s.InitContainers, pidFiles)
	c.shared("spec.containers", s.Containers, pidFiles)
	names := map[string]bool{}
	c.initContainers(s.InitContainers, names, volumes)
	for i := range s.Containers {
		at := fmt.Sprintf("spec.containers[%d]", i)
		c.name(at+".name", s.Containers[i].Name, names)
		if p := s.Containers[i].RestartPolicy; p != s.RestartPolicy { // one that is inherited is reported above
			oneOf(c, at+".restartPolicy", p, Always, OnFailure, Never)
		}
		c.container(at, &s.Containers[i], volumes)
		c.probes(at, &s.Containers[i], s)
	}
}

// name checks a name that must be a DNS label and unique among its siblings.
func (c *checker) name(at, name string, seen map[string]bool) {
	switch {
	case name == "":
		c.add(at, "required")
	case !isDNSLabel(name):
		c.add(at, "%q is no DNS label: %s", clip(name), labelRule)
	case seen[name]:
		c.add(at, "%q is declared twice", name)
	}
	seen[name] = true
}

func (c *checker) backoff(b RestartBackoff) {
	if b.Max < b.Initial {
		c.add("spec.restartBackoff.max", "%s is less than initial, %s", b.Max.D(), b.Initial.D())
	}
}

// volumes returns the names that mounts may use, sorted.
func (c *checker) volumes(vs []Volume) []string {
	seen := map[string]bool{}
	for i, v := range vs {
		at := fmt.Sprintf("spec.volumes[%d]", i)
		c.name(at+".name", v.Name, seen)
		var sources []string
		if v.HostPath != nil {
			sources = append(sources, "hostPath")
			c.addIf(at+".hostPath.path", hostPathFault(v.HostPath.Path))
			c.hostPathType(at+".hostPath.type", v.HostPath.Type)
		}
		if v.EmptyDir != nil {
			sources = append(sources, "emptyDir")
			if q := v.EmptyDir.SizeLimit; q != nil && q.Sign() <= 0 {
				c.add(at+".emptyDir.sizeLimit", "%s is out of range: must be more than 0; leave it out for no limit", q)
			}
		}
		if v.Files != nil {
			sources = append(sources, "files")
			c.files(at+".files", v.Files)
		}
		switch len(sources) {
		case 0:
			c.missing(at, "no source: one of hostPath, emptyDir, files")
		case 1:
		default:
			c.add(at, "%s exclude each other: a volume has one source", strings.Join(sources, " and "))
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (c *checker) hostPathType(at, t string) {
	switch t {
	case "Socket", "CharDevice", "BlockDevice":
		c.add(at, "%s is %s", t, notYet)
	case "":
	default:
		oneOf(c, at, t, "Directory", "DirectoryOrCreate", "File", "FileOrCreate")
	}
}

func (c *checker) files(at string, files map[string]string) {
	if len(files) == 0 {
		c.missing(at, "must name at least one file")
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !isFileName(name) {
			c.add(join(at, name), "%q is no plain file name: no \"/\", not \".\" or \"..\", at most 255 bytes", clip(name))
		}
	}
}
