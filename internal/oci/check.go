package oci

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandboxer/desired"
)

// Manifest is what has been said beside a bundle.
type Manifest struct {
	Container *desired.Container
	// Hostname is the sandbox's.
	Hostname string
	// Hooks says that those of bundles may run.
	Hooks bool
}

// check says what whoever wrote a specification would rely on and not get,
// beside what the rules say.
func check(s *specs.Spec, m Manifest) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !strings.HasPrefix(s.Version, "1.") {
		add("ociVersion %q is not supported: only 1.x is", s.Version)
	}
	if s.Root == nil || s.Root.Path == "" {
		add("root.path is missing")
	}
	// "runc spec" writes its own name, whatever is to be made.
	if s.Hostname != "" && s.Hostname != m.Hostname && s.Hostname != "runc" {
		add("hostname %q is not taken from a bundle: all containers of a sandbox have one, here %q; say spec.hostname in the manifest", s.Hostname, m.Hostname)
	}
	for key := range s.Annotations {
		if strings.HasPrefix(key, "dev.gvisor.") {
			add("annotation %s is not allowed", key)
		}
	}
	if s.Hooks != nil && !m.Hooks {
		//lint:ignore SA1019 OCI has deprecated prestart hooks, and they are in use.
		if h := s.Hooks; len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer)+len(h.StartContainer)+len(h.Poststart)+len(h.Poststop) > 0 {
			add("hooks are not allowed, as they would run on the host: say allowBundleHooks: true in the configuration file, or declare them in the manifest")
		}
	}
	for i, mt := range s.Mounts {
		for _, fault := range mount(mt) {
			add("mounts[%d] (%s): %s", i, mt.Destination, fault)
		}
	}
	if s.Process == nil {
		add("process is missing")
	} else {
		faults = append(faults, process(s.Process, m.Container)...)
	}
	if s.Linux != nil {
		faults = append(faults, linux(s.Linux)...)
	}
	return faults
}

func process(p *specs.Process, c *desired.Container) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if p.Terminal && !c.Terminal {
		add("process.terminal is not taken from a bundle: say terminal in the manifest")
	}
	if p.OOMScoreAdj != nil && c.OOMScoreAdj == nil {
		add("process.oomScoreAdj is not taken from a bundle: say oomScoreAdj in the manifest")
	}
	if p.Cwd != "" && !filepath.IsAbs(p.Cwd) {
		add("process.cwd %q is not absolute", p.Cwd)
	}
	if len(p.Args) == 0 && len(c.Command) == 0 && len(c.Args) == 0 {
		add("process.args is empty, and the manifest names no command")
	}
	for i, e := range p.Env {
		switch name, _, ok := strings.Cut(e, "="); {
		case !ok:
			add("process.env[%d] %q has no \"=\": NAME=VALUE is wanted", i, e)
		case name == "":
			add("process.env[%d] %q has no name before the \"=\"", i, e)
		case strings.ContainsRune(e, 0):
			add("process.env[%d] (%s) holds a NUL byte", i, name)
		}
	}
	if mask := p.User.Umask; mask != nil && *mask > 0o777 {
		add("process.user.umask %#o is out of range: 0 to 0777", *mask)
	}
	for name, ids := range map[string][]uint32{"uid": {p.User.UID}, "gid": {p.User.GID}, "additionalGids": p.User.AdditionalGids} {
		if slices.Contains(ids, math.MaxUint32) {
			add("process.user.%s: %d is no ID: 0 to %d", name, uint32(math.MaxUint32), math.MaxUint32-1)
		}
	}
	if caps := p.Capabilities; caps != nil {
		known := desired.CapabilityNames()
		for i := range known {
			known[i] = "CAP_" + known[i]
		}
		for set, names := range map[string][]string{"bounding": caps.Bounding, "effective": caps.Effective,
			"inheritable": caps.Inheritable, "permitted": caps.Permitted, "ambient": caps.Ambient} {
			for i, name := range names {
				if !slices.Contains(known, name) {
					add("process.capabilities.%s[%d]: %q is no capability%s", set, i, name, desired.Suggest(name, known))
				}
			}
		}
		// The kernel refuses the one, and engines leave out the other.
		for _, name := range caps.Effective {
			if !slices.Contains(caps.Permitted, name) {
				add("process.capabilities.effective: %s is not permitted as well", name)
			}
		}
		for _, name := range caps.Ambient {
			if !slices.Contains(caps.Permitted, name) || !slices.Contains(caps.Inheritable, name) {
				add("process.capabilities.ambient: %s is not permitted and inheritable as well", name)
			}
		}
	}
	seen := map[string]bool{}
	for i, r := range p.Rlimits {
		switch {
		case !slices.Contains(resources, r.Type):
			add("process.rlimits[%d]: %q is not one of %s", i, r.Type, strings.Join(resources, ", "))
		case seen[r.Type]:
			add("process.rlimits[%d]: %s is there twice", i, r.Type)
		case r.Soft > r.Hard:
			add("process.rlimits[%d]: %s: soft is more than hard", i, r.Type)
		}
		seen[r.Type] = true
	}
	return faults
}

// resources are what a process's use of is limited.
var resources = []string{"RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK",
	"RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK"}

// namespaces are the kinds that a container is given, or has with its sandbox.
var namespaces = []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
	specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace}

// Of the host's /proc and /sys engines hide and protect these, which in a
// sandbox are not there or the sandbox's own.
var (
	masked = []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"}
	readonly = []string{"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func linux(l *specs.Linux) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, ns := range l.Namespaces {
		switch {
		case !slices.Contains(namespaces, ns.Type):
			add("linux.namespaces: %q is not supported", ns.Type)
		case ns.Path != "":
			add("linux.namespaces: %s: joining %s is not supported", ns.Type, ns.Path)
		}
	}
	if p := l.RootfsPropagation; p != "" && p != "private" && p != "rprivate" {
		add("linux.rootfsPropagation %q is not supported: mounts of a sandbox are its own", p)
	}
	for list, of := range map[string]struct{ paths, usual []string }{"maskedPaths": {l.MaskedPaths, masked}, "readonlyPaths": {l.ReadonlyPaths, readonly}} {
		for _, path := range of.paths {
			if !slices.Contains(of.usual, filepath.Clean(path)) && !cpu(path) {
				add("linux.%s: %s is not supported: only what engines hide of the host's /proc and /sys", list, path)
			}
		}
	}
	if l.Seccomp != nil {
		faults = append(faults, seccomp(l.Seccomp)...)
	}
	return faults
}

// cpu says whether a path is of those that engines hide of each processor,
// which a sandbox does not have.
func cpu(path string) bool {
	ok, _ := filepath.Match("/sys/devices/system/cpu/cpu*/thermal_throttle", filepath.Clean(path)) // the pattern is right
	return ok
}

// actions are what gVisor's filters can do with a system call.
var actions = []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActTrace, specs.ActTrap}

var operators = []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual,
	specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual}

// seccomp says what a filter would not do: the sentry reads no errnoRet and
// answers EPERM. With an action that returns no error the OCI specification has
// every runtime refuse one.
func seccomp(s *specs.LinuxSeccomp) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	judge := func(at string, action specs.LinuxSeccompAction, errno *uint) {
		switch {
		case !slices.Contains(actions, action):
			add("%s: the action %q is not supported", at, action)
		case errno == nil:
		case action != specs.ActErrno && action != specs.ActTrace:
			add("%s: errnoRet: the action %s returns no error", at, action)
		case *errno != uint(unix.EPERM):
			add("%s: errnoRet: %d is not supported: gVisor's filters return EPERM (%d) alone; leave it out where that will do, else allow the system call", at, *errno, uint(unix.EPERM))
		}
	}
	judge("linux.seccomp.defaultAction", s.DefaultAction, s.DefaultErrnoRet)
	for i, rule := range s.Syscalls {
		at := fmt.Sprintf("linux.seccomp.syscalls[%d] (%s)", i, strings.Join(rule.Names, ", "))
		judge(at, rule.Action, rule.ErrnoRet)
		if len(rule.Names) == 0 {
			add("%s: names is empty", at)
		}
		for _, a := range rule.Args {
			if a.Index > 5 {
				add("%s: a system call has no argument %d", at, a.Index)
			}
			if !slices.Contains(operators, a.Op) {
				add("%s: the comparison %q is not supported", at, a.Op)
			}
		}
	}
	for _, flag := range s.Flags {
		if flag != "SECCOMP_FILTER_FLAG_TSYNC" { // one thread is there when the filter comes
			add("linux.seccomp.flags: %s is not supported", flag)
		}
	}
	return faults
}
