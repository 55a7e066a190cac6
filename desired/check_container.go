package desired

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// The least that a container can be given, and a bound for what it can ask,
// far beyond any machine, so that no arithmetic on it overflows.
const (
	minCPU     = "1m"
	maxCPU     = "100k"
	minMemory  = "4Mi"
	maxMemory  = "1Ei"
	minStorage = "4Ki"
	maxStorage = "1Ei"
	minPids    = 1
	maxPids    = 4 << 20 // as many as Linux can count
)

func (c *checker) container(at string, ct *Container, volumes []string) {
	c.source(at, ct)
	if len(ct.Command) > 0 && ct.Command[0] == "" {
		c.add(at+".command[0]", "must not be empty")
	}
	if d := ct.WorkingDir; d != "" && !path.IsAbs(d) {
		c.add(at+".workingDir", "%q is relative: must start with \"/\"", clip(d))
	}
	c.env(at+".env", ct.Env)
	limits := ct.Resources.Limits
	c.limit(at+".resources.limits.cpu", limits.CPU, minCPU, maxCPU)
	c.limit(at+".resources.limits.memory", limits.Memory, minMemory, maxMemory)
	c.limit(at+".resources.limits.ephemeral-storage", limits.EphemeralStorage, minStorage, maxStorage)
	if p := limits.Pids; p != nil && (*p < minPids || *p > maxPids) {
		c.add(at+".resources.limits.pids", "%d is out of range: %d to %d", *p, minPids, maxPids)
	}
	if s := ct.OOMScoreAdj; s != nil && (*s < -1000 || *s > 1000) {
		c.add(at+".oomScoreAdj", "%d is out of range: -1000 to 1000", *s)
	}
	c.mounts(at+".volumeMounts", ct.VolumeMounts, volumes)
	c.outside(at, ct)
	if _, err := SignalNumber(ct.Lifecycle.StopSignal); err != nil {
		c.add(at+".lifecycle.stopSignal", "%v; write it as SIGTERM, TERM or 15", err)
	}
	sc := &ct.SecurityContext
	c.id(at+".securityContext.runAsUser", sc.RunAsUser)
	c.id(at+".securityContext.runAsGroup", sc.RunAsGroup)
	c.capabilities(at+".securityContext.capabilities.add", sc.Capabilities.Add)
	c.capabilities(at+".securityContext.capabilities.drop", sc.Capabilities.Drop)
	c.hooks(at+".hooks", &ct.Hooks)
}

// source checks that there is exactly one root file system, and something to
// run: a directory brings no command of its own, a bundle does.
func (c *checker) source(at string, ct *Container) {
	switch {
	case ct.Rootfs != nil && ct.Bundle != "":
		c.add(at, "rootfs and bundle exclude each other: a container has one source for its file system")
	case ct.Rootfs != nil:
		c.addIf(at+".rootfs.path", hostPathFault(ct.Rootfs.Path))
		if len(ct.Command) == 0 {
			c.add(at+".command", "required: a rootfs names no command of its own")
		}
	case ct.Bundle != "":
		c.addIf(at+".bundle", hostPathFault(ct.Bundle))
	default:
		c.missing(at, "no source for its file system: one of rootfs, bundle")
	}
}

// outside checks what a container has to do with the host beside its files.
func (c *checker) outside(at string, ct *Container) {
	for field, path := range map[string]string{".consoleSocket": ct.ConsoleSocket, ".pidFile": ct.PIDFile, ".userLog": ct.UserLog} {
		if path != "" {
			c.addIf(at+field, hostPathFault(path))
		}
	}
	switch {
	case ct.ConsoleSocket == "":
	case !ct.Terminal:
		c.add(at+".consoleSocket", "needs terminal: true")
	case ct.Stdin:
		c.add(at+".stdin", "excludes consoleSocket: whoever has the terminal types there, and nobody can attach")
	}
}

// shared checks what only one of several containers can have.
func (c *checker) shared(list string, containers []Container, pidFiles map[string]bool) {
	logged := false
	for i := range containers {
		at, ct := fmt.Sprintf("%s[%d]", list, i), &containers[i]
		if p := ct.PIDFile; p != "" && pidFiles[p] {
			c.add(at+".pidFile", "%q is another container's too", clip(p))
		} else {
			pidFiles[p] = true
		}
		if ct.UserLog != "" && logged {
			c.add(at+".userLog", "gVisor has one per sandbox, and another container declares it already")
		}
		logged = logged || ct.UserLog != ""
	}
}

func (c *checker) env(at string, env []EnvVar) {
	seen := map[string]bool{}
	for i, e := range env {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case e.Name == "":
			c.add(at+".name", "required")
		case strings.Contains(e.Name, "="):
			c.add(at+".name", "%q contains \"=\"", clip(e.Name))
		case seen[e.Name]:
			c.add(at+".name", "%q is declared twice", clip(e.Name))
		}
		seen[e.Name] = true
		if e.ValueFrom == nil {
			continue
		}
		c.addIf(at+".valueFrom.file", hostPathFault(e.ValueFrom.File))
		if e.Value != "" {
			c.add(at, "value and valueFrom exclude each other")
		}
	}
}

func (c *checker) limit(at string, q *resource.Quantity, least, most string) {
	if q == nil {
		return
	}
	lo, hi := resource.MustParse(least), resource.MustParse(most)
	if q.Cmp(lo) < 0 || q.Cmp(hi) > 0 {
		c.add(at, "%s is out of range: at least %s, at most %s", q, least, most)
	}
}

func (c *checker) mounts(at string, mounts []VolumeMount, volumes []string) {
	seen := map[string]bool{}
	for i, m := range mounts {
		at := fmt.Sprintf("%s[%d]", at, i)
		_, exists := slices.BinarySearch(volumes, m.Name)
		switch {
		case m.Name == "":
			c.add(at+".name", "required")
		case !exists:
			c.add(at+".name", "there is no volume %q%s", clip(m.Name), Suggest(m.Name, volumes))
		}
		at += ".mountPath"
		switch p := m.MountPath; {
		case p == "":
			c.add(at, "required")
		case !path.IsAbs(p):
			c.add(at, "%q is relative: must start with \"/\"", clip(p))
		case p == "/" || p == "/dev" || below(p, "/proc") || below(p, "/sys"):
			c.add(at, "%q belongs to the system: nothing can be mounted over / or /dev, nor at or below /proc and /sys", p)
		case seen[p]:
			c.add(at, "%q is mounted on twice", clip(p))
		default:
			c.addIf(at, pathSizeFault(p))
		}
		seen[m.MountPath] = true
	}
}

// below says that the clean path p is dir or below it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// id checks a user or group; the highest 32-bit number means "unchanged" to
// the kernel.
func (c *checker) id(at string, id *int64) {
	if id != nil && (*id < 0 || *id > math.MaxUint32-1) {
		c.add(at, "%d is out of range: 0 to %d", *id, int64(math.MaxUint32-1))
	}
}

func (c *checker) capabilities(at string, names []string) {
	known := append(CapabilityNames(), "ALL")
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", at, i)
		bare, prefixed := strings.CutPrefix(name, "CAP_")
		switch {
		case prefixed && slices.Contains(known, bare):
			c.add(at, "%q: leave out the prefix: %q", name, bare)
		case !slices.Contains(known, name):
			c.add(at, "%q is no capability%s", clip(name), Suggest(bare, known))
		}
	}
}
