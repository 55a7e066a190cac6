package actuator

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/desired"
	"sandboxer/gofer/serve"
)

// bundle is a container in the runtime's terms: its OCI specification, and
// what its gofer serves, in the order of the root and the bind mounts of spec.
type bundle struct {
	spec   *specs.Spec
	mounts []serve.Mount
}

// defaultPath is the search path of a container that declares none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// defaultCapabilities are those of a container that says nothing about them,
// as the usual container engines have it.
var defaultCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
	"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// bundle describes a declared container. What it reads of the host (a bundle's
// config.json, variables from files, volumes) it reads now, so a container
// that is made anew sees what is there then.
func (a *Actuator) bundle(d *desired.Sandbox, c *desired.Container) (bundle, error) {
	var spec *specs.Spec
	var err error
	if c.Bundle != "" {
		spec, err = readBundle(c.Bundle)
	} else {
		spec = rootfsSpec(c)
	}
	if err != nil {
		return bundle{}, err
	}
	spec.Hostname = d.Spec.Hostname
	if err := applyContainer(spec, d, c); err != nil {
		return bundle{}, err
	}
	root, err := a.serveMount(spec.Root.Path, true)
	if err != nil {
		return bundle{}, fmt.Errorf("root file system: %w", err)
	}
	b := bundle{spec: spec, mounts: []serve.Mount{root}}
	var binds []specs.Mount
	for _, m := range spec.Mounts {
		if specutils.IsGoferMount(m) {
			binds = append(binds, m)
		}
	}
	for _, m := range binds {
		served, err := a.serveMount(m.Source, slices.Contains(m.Options, "ro"))
		if err != nil {
			return bundle{}, fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		b.mounts = append(b.mounts, served)
	}
	volumes, err := a.volumeMounts(d, c, spec.Root)
	if err != nil {
		return bundle{}, err
	}
	for _, v := range volumes {
		spec.Mounts = append(spec.Mounts, v.mount)
		b.mounts = append(b.mounts, v.served)
	}
	// Only the gofer has to do with host paths from here on.
	spec.Root.Path = "/"
	return b, nil
}

// rootfsSpec is the specification that a container on a plain directory
// starts from.
func rootfsSpec(c *desired.Container) *specs.Spec {
	return &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: c.Rootfs.Path, Readonly: c.Rootfs.ReadOnly},
		Process: &specs.Process{Cwd: "/", Capabilities: capabilities(defaultCapabilities)},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"mode=1777"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
		},
		Linux: &specs.Linux{},
	}
}

// readBundle reads the specification of an OCI bundle and refuses what this
// runtime would have to leave out.
func readBundle(dir string) (*specs.Spec, error) {
	path := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(b, spec); err != nil {
		return nil, fmt.Errorf("bundle: %s: %w", path, err)
	}
	switch {
	case spec.Root == nil || spec.Root.Path == "":
		return nil, fmt.Errorf("bundle: %s: root.path is missing", path)
	case spec.Process == nil:
		return nil, fmt.Errorf("bundle: %s: process is missing", path)
	case spec.Process.Terminal:
		return nil, fmt.Errorf("bundle: %s: process.terminal is not supported yet", path)
	case spec.Hooks != nil:
		return nil, fmt.Errorf("bundle: %s: hooks are not allowed: they would run on the host", path)
	}
	for key := range spec.Annotations {
		if strings.HasPrefix(key, "dev.gvisor.") {
			return nil, fmt.Errorf("bundle: %s: annotation %s is not allowed", path, key)
		}
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
	spec.Linux = &specs.Linux{}
	return spec, nil
}

// applyContainer puts what the manifest says over what spec says.
func applyContainer(spec *specs.Spec, d *desired.Sandbox, c *desired.Container) error {
	p := spec.Process
	if len(c.Command) > 0 {
		p.Args = slices.Clone(c.Command)
	}
	if len(c.Args) > 0 {
		p.Args = append(slices.Clip(p.Args), c.Args...)
	}
	if len(p.Args) == 0 {
		return errors.New("no command: neither the manifest nor a bundle says what to run")
	}
	if c.WorkingDir != "" {
		p.Cwd = c.WorkingDir
	}
	if err := applyEnv(p, d, c); err != nil {
		return err
	}
	p.OOMScoreAdj = c.OOMScoreAdj
	sc := c.SecurityContext
	if sc.RunAsUser != nil {
		p.User = specs.User{UID: uint32(*sc.RunAsUser)}
	}
	if sc.RunAsGroup != nil {
		p.User.GID = uint32(*sc.RunAsGroup)
	}
	if sc.NoNewPrivileges != nil {
		p.NoNewPrivileges = *sc.NoNewPrivileges
	}
	if sc.ReadOnlyRootFilesystem != nil {
		spec.Root.Readonly = *sc.ReadOnlyRootFilesystem
	}
	applyCapabilities(p, sc.Capabilities)
	spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}}
	spec.Annotations = map[string]string{
		specutils.ContainerdContainerTypeAnnotation: specutils.ContainerdContainerTypeContainer,
		specutils.ContainerdSandboxIDAnnotation:     d.Name,
		specutils.ContainerdContainerNameAnnotation: c.Name,
	}
	return nil
}

func applyEnv(p *specs.Process, d *desired.Sandbox, c *desired.Container) error {
	set := func(name, value string) {
		p.Env = slices.DeleteFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		p.Env = append(p.Env, name+"="+value)
	}
	if !slices.ContainsFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		p.Env = append(p.Env, defaultPath)
	}
	set("HOSTNAME", d.Spec.Hostname)
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			b, err := os.ReadFile(e.ValueFrom.File)
			if err != nil {
				return fmt.Errorf("variable %s: %w", e.Name, err)
			}
			value = strings.TrimSuffix(string(b), "\n")
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("variable %s: its value holds a NUL byte", e.Name)
		}
		set(e.Name, value)
	}
	return nil
}

// applyCapabilities drops first and adds then, as a Pod does.
func applyCapabilities(p *specs.Process, c desired.Capabilities) {
	if len(c.Add) == 0 && len(c.Drop) == 0 {
		return
	}
	var set []string
	if !slices.Contains(c.Drop, "ALL") {
		for _, name := range p.Capabilities.Bounding {
			if short := strings.TrimPrefix(name, "CAP_"); !slices.Contains(c.Drop, short) {
				set = append(set, short)
			}
		}
	}
	add := c.Add
	if slices.Contains(c.Add, "ALL") {
		add = specutils.AllCapabilities().Bounding
	}
	for _, name := range add {
		set = append(set, strings.TrimPrefix(name, "CAP_"))
	}
	slices.Sort(set)
	p.Capabilities = capabilities(slices.Compact(set))
}

func capabilities(names []string) *specs.LinuxCapabilities {
	set := make([]string, len(names))
	for i, n := range names {
		set[i] = "CAP_" + n
	}
	return &specs.LinuxCapabilities{Bounding: set, Effective: set, Permitted: set}
}
