package actuator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/desired"
)

// The most that is read of a file that a manifest names, in bytes.
const (
	bundleMax = 16 << 20  // a config.json
	envMax    = 128 << 10 // one variable, as much as Linux takes
)

// readBundle reads the specification of an OCI bundle and refuses what this
// runtime would have to leave out.
func readBundle(dir string, c *desired.Container, hooksAllowed bool) (*specs.Spec, error) {
	path := filepath.Join(dir, "config.json")
	b, err := readFile(path, bundleMax)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(b, spec); err != nil {
		return nil, fmt.Errorf("bundle: %s: %w", path, err)
	}
	if err := checkBundle(spec, c); err != nil {
		return nil, fmt.Errorf("bundle: %s: %w", path, err)
	}
	if !hooksAllowed && !empty(spec.Hooks) {
		return nil, fmt.Errorf("bundle: %s: hooks are not allowed, as they would run on the host: say allowBundleHooks: true in the configuration file, or declare them in the manifest", path)
	}
	spec.Annotations = nil
	if !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(dir, spec.Root.Path)
	}
	for i, m := range spec.Mounts {
		if specutils.IsGoferMount(m) && !filepath.IsAbs(m.Source) {
			spec.Mounts[i].Source = filepath.Join(dir, m.Source)
		}
	}
	// The sentry has a cgroup file system of its own, which it can mount only
	// once per sandbox.
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" || m.Type == "cgroup2" })
	if spec.Process.Capabilities == nil {
		spec.Process.Capabilities = capabilities(nil)
	}
	// Namespaces, cgroups and devices are the sandbox's.
	kept := &specs.Linux{}
	if spec.Linux != nil {
		kept.Seccomp = spec.Linux.Seccomp
	}
	spec.Linux = kept
	return spec, nil
}

// fileSystems are the types of mounts that a sentry knows, and mqueue, which
// every engine writes into every specification. The sentry would leave out
// others without a word.
var fileSystems = []string{"bind", "cgroup", "cgroup2", "dev", "devpts", "mqueue", "none", "proc", "sysfs", "tmpfs"}

// checkBundle refuses what whoever wrote a specification would rely on and not
// get. What only says again what every sandbox does anyway is let pass.
func checkBundle(spec *specs.Spec, c *desired.Container) error {
	p := spec.Process
	switch {
	case spec.Root == nil || spec.Root.Path == "":
		return errors.New("root.path is missing")
	case p == nil:
		return errors.New("process is missing")
	case p.Terminal && !c.Terminal:
		return errors.New("process.terminal is not taken from a bundle: say terminal in the manifest")
	case p.SelinuxLabel != "" || p.ApparmorProfile != "":
		return errors.New("process.selinuxLabel and process.apparmorProfile are not supported: gVisor has neither")
	case p.Scheduler != nil || p.IOPriority != nil || p.ExecCPUAffinity != nil:
		return errors.New("process.scheduler, process.ioPriority and process.execCPUAffinity are not supported")
	case p.OOMScoreAdj != nil && c.OOMScoreAdj == nil:
		return errors.New("process.oomScoreAdj is not taken from a bundle: say oomScoreAdj in the manifest")
	case spec.Domainname != "":
		return errors.New("domainname is not supported")
	}
	for key := range spec.Annotations {
		if strings.HasPrefix(key, "dev.gvisor.") {
			return fmt.Errorf("annotation %s is not allowed", key)
		}
	}
	for i, m := range spec.Mounts {
		switch {
		case !filepath.IsAbs(m.Destination):
			return fmt.Errorf("mounts[%d]: destination %q is not absolute", i, m.Destination)
		case !specutils.IsGoferMount(m) && !slices.Contains(fileSystems, m.Type):
			return fmt.Errorf("mounts[%d]: %s: the file system %q is not supported", i, m.Destination, m.Type)
		case len(m.UIDMappings)+len(m.GIDMappings) > 0:
			return fmt.Errorf("mounts[%d]: %s: ID mappings are not supported", i, m.Destination)
		}
	}
	if spec.Linux == nil {
		return nil
	}
	return checkLinux(spec.Linux)
}

func checkLinux(l *specs.Linux) error {
	switch {
	case len(l.UIDMappings)+len(l.GIDMappings) > 0:
		return errors.New("linux.uidMappings and gidMappings are not supported: every ID of a sandbox means itself")
	case len(l.Sysctl) > 0:
		return errors.New("linux.sysctl is not supported")
	case len(l.Devices) > 0:
		return errors.New("linux.devices is not supported")
	case l.IntelRdt != nil, l.Personality != nil, len(l.TimeOffsets) > 0:
		return errors.New("linux.intelRdt, personality and timeOffsets are not supported")
	}
	if r := l.Resources; r != nil {
		limited := *r
		limited.Devices = nil // a sandbox sees none of the host's in any case
		if !empty(limited) {
			return errors.New("linux.resources is not taken from a bundle: say resources.limits in the manifest")
		}
	}
	for _, ns := range l.Namespaces {
		if ns.Path != "" {
			return fmt.Errorf("linux.namespaces: %s: joining %s is not supported", ns.Type, ns.Path)
		}
	}
	// What engines hide of the host's /proc and /sys is not in the sandbox's.
	for _, path := range slices.Concat(l.MaskedPaths, l.ReadonlyPaths) {
		if clean := filepath.Clean(path); !within("/proc", clean) && !within("/sys", clean) {
			return fmt.Errorf("linux.maskedPaths and readonlyPaths outside of /proc and /sys are not supported: %s", path)
		}
	}
	if l.Seccomp == nil {
		return nil
	}
	return checkSeccomp(l.Seccomp)
}

// checkSeccomp refuses a filter that would not do what it says: the sentry
// reads no errnoRet and answers EPERM. With an action that returns no error the
// OCI specification has every runtime refuse one.
func checkSeccomp(s *specs.LinuxSeccomp) error {
	check := func(errno *uint, action specs.LinuxSeccompAction) error {
		switch {
		case errno == nil:
			return nil
		case action != specs.ActErrno && action != specs.ActTrace:
			return fmt.Errorf("the action %s returns no error", action)
		case *errno != uint(unix.EPERM):
			return fmt.Errorf("%d is not supported: gVisor's filters return EPERM (%d) alone; leave it out where that will do, else allow the system call", *errno, uint(unix.EPERM))
		}
		return nil
	}
	if err := check(s.DefaultErrnoRet, s.DefaultAction); err != nil {
		return fmt.Errorf("linux.seccomp.defaultErrnoRet: %w", err)
	}
	for i, rule := range s.Syscalls {
		if err := check(rule.ErrnoRet, rule.Action); err != nil {
			return fmt.Errorf("linux.seccomp.syscalls[%d] (%s): errnoRet: %w", i, strings.Join(rule.Names, ", "), err)
		}
	}
	return nil
}

// empty says whether a part of a specification says nothing, present or not.
func empty(part any) bool {
	b, err := json.Marshal(part)
	return err == nil && (string(b) == "{}" || string(b) == "null")
}

// readFile reads a file that a manifest names. It neither waits for a pipe's
// writer nor reads what has no end.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return b, err
}
