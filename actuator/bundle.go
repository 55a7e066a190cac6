package actuator

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
	"sandboxer/observed"
)

// bundle is a container in the runtime's terms: its OCI specification, and
// what its gofer serves, in the order of the root and the bind mounts of spec.
// It is to be closed.
type bundle struct {
	spec   *specs.Spec
	mounts []served
	// volumes are what is mounted beside that, see mountVolumes.
	volumes []volumeMount
	shm     shmOf
	root    string // of the host's, that spec's root is
	hooks   desired.Hooks
	// shown are the command's words without values that are in files.
	shown []string
	// objects and contents are what its record is to tell of the host.
	objects  []observed.Object
	contents []observed.Content
}

func (b *bundle) close() {
	closeServed(b.mounts)
	for _, v := range b.volumes {
		closeServed([]served{v.served})
	}
}

// defaultCapabilities are those of a container that says nothing about them,
// as the usual container engines have it, but for raw sockets, which gVisor
// gives to nobody who does not ask.
var defaultCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// bundle describes a declared container. What it reads of the host (a bundle's
// config.json, variables from files, volumes) it reads now, so a container
// that is made anew sees what is there then.
func (a *Actuator) bundle(d *desired.Sandbox, c *desired.Container) (b bundle, err error) {
	var spec *specs.Spec
	paths := a.pathsOf(d, c)
	contents := a.contentsOf(c)
	if c.Bundle != "" {
		spec, err = a.readBundle(paths, c, d.Spec.Hostname)
	} else {
		spec = rootfsSpec(c)
	}
	if err != nil {
		return bundle{}, err
	}
	hooks, err := withBundle(spec.Hooks, c.Hooks)
	if err != nil {
		return bundle{}, fmt.Errorf("bundle: %w", err)
	}
	spec.Hooks = nil
	spec.Hostname = d.Spec.Hostname
	shown, err := a.applyContainer(paths, spec, d, c)
	if err != nil {
		return bundle{}, err
	}
	root, err := serveMount(paths, spec.Root.Path, true)
	if err != nil {
		return bundle{}, &rootError{err}
	}
	if kind, err := (hostpath.File{File: root.tree.File}).Kind(); err != nil || kind != unix.S_IFDIR {
		root.tree.File.Close()
		return bundle{}, &rootError{cmp.Or(err, fmt.Errorf("%s is not a directory", spec.Root.Path))}
	}
	b = bundle{spec: spec, mounts: []served{root}, hooks: hooks, shown: shown, contents: contents}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := b.note("the root directory", root); err != nil {
		return b, err
	}
	b.shm = applyMounts(spec, c)
	var binds []specs.Mount
	for _, m := range spec.Mounts {
		if specutils.IsGoferMount(m) {
			binds = append(binds, m)
		}
	}
	for _, m := range binds {
		served, err := serveMount(paths, m.Source, slices.Contains(m.Options, "ro"))
		if err != nil {
			return b, fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		b.mounts = append(b.mounts, served)
		if err := b.note("mount "+m.Destination+"'s source", served); err != nil {
			return b, err
		}
	}
	if b.volumes, err = a.volumeMounts(paths, d, c); err != nil {
		return b, err
	}
	for _, v := range b.volumes {
		if volume(d, v.name).HostPath == nil {
			continue
		}
		if err := b.note(fmt.Sprintf("volume %q's hostPath", v.name), v.served); err != nil {
			return b, err
		}
	}
	files, err := a.networkMounts(paths, d, c, spec, root.tree.File)
	for _, f := range files {
		spec.Mounts = append(spec.Mounts, f.mount)
		b.mounts = append(b.mounts, f.served)
	}
	if err != nil {
		return b, err
	}
	for i := range spec.Mounts {
		if m := &spec.Mounts[i]; specutils.IsGoferMount(*m) {
			m.Options = append(slices.Clip(m.Options), uncached)
		}
	}
	// Only the gofer has to do with host paths from here on.
	b.root = spec.Root.Path
	spec.Root.Path = "/"
	return b, nil
}

// uncached has the sentry close a file of a volume once no process has it open.
// Otherwise it keeps the last thousand, and with them the space of what others
// have deleted.
const uncached = "dcache=0"

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
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
		},
		Linux: &specs.Linux{},
	}
}

// applyContainer puts what the manifest says over what spec says. It returns the
// command's words without values that are in files.
func (a *Actuator) applyContainer(paths hostpath.Resolver, spec *specs.Spec, d *desired.Sandbox, c *desired.Container) (shown []string, err error) {
	p := spec.Process
	variables, err := a.applyEnv(paths, p, d, c)
	if err != nil {
		return nil, err
	}
	plain := maps.Clone(variables)
	maps.DeleteFunc(plain, func(name, _ string) bool { return secret(c.Env)[name] })
	shown, p.Args = words(p.Args, c, plain), words(p.Args, c, variables)
	if len(p.Args) == 0 {
		return nil, errors.New("no command: neither the manifest nor a bundle says what to run")
	}
	if c.WorkingDir != "" {
		p.Cwd = c.WorkingDir
	}
	p.OOMScoreAdj = c.OOMScoreAdj
	sc := c.SecurityContext
	if sc.RunAsUser != nil {
		p.User = specs.User{UID: uint32(*sc.RunAsUser), Umask: p.User.Umask}
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
	// A bundle's own are for its hooks; gVisor's are ours alone.
	spec.Annotations = maps.Clone(spec.Annotations)
	if spec.Annotations == nil {
		spec.Annotations = map[string]string{}
	}
	maps.Copy(spec.Annotations, annotations(d.Name, c.Name))
	return shown, nil
}

// words are a command's, which are a bundle's where the manifest has none.
func words(args []string, c *desired.Container, variables map[string]string) []string {
	if len(c.Command) > 0 {
		args = desired.Expand(c.Command, variables)
	}
	return append(slices.Clip(args), desired.Expand(c.Args, variables)...)
}

// annotations say whose container it is, to gVisor and to hooks.
func annotations(sandbox, container string) map[string]string {
	return map[string]string{
		specutils.ContainerdContainerTypeAnnotation: specutils.ContainerdContainerTypeContainer,
		specutils.ContainerdSandboxIDAnnotation:     sandbox,
		specutils.ContainerdContainerNameAnnotation: container,
	}
}

// applyEnv returns the variables that the manifest declares, which references
// in it stand for.
func (a *Actuator) applyEnv(paths hostpath.Resolver, p *specs.Process, d *desired.Sandbox, c *desired.Container) (map[string]string, error) {
	set := func(name, value string) {
		p.Env = slices.DeleteFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		p.Env = append(p.Env, name+"="+value)
	}
	if !slices.ContainsFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		p.Env = append(p.Env, "PATH="+desired.DefaultPath)
	}
	set("HOSTNAME", d.Spec.Hostname)
	if c.Terminal && !slices.ContainsFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "TERM=") }) {
		set("TERM", "xterm")
	}
	variables, err := a.valuesOf(paths, c.Env)
	for _, e := range c.Env {
		set(e.Name, variables[e.Name])
	}
	return variables, err
}

// valuesOf are declared variables with their references replaced and their
// files read.
func (a *Actuator) valuesOf(paths hostpath.Resolver, env []desired.EnvVar) (map[string]string, error) {
	values := map[string]string{}
	paths.Found = a.openedOrder
	for _, e := range env {
		value := desired.ExpandOne(e.Value, values)
		if e.ValueFrom != nil {
			err := a.ordered(e.ValueFrom.File)
			var b []byte
			if err == nil {
				b, err = paths.Read(e.ValueFrom.File, envMax)
			}
			if err != nil {
				return nil, fmt.Errorf("variable %s: %w", e.Name, err)
			}
			value = strings.TrimSuffix(string(b), "\n")
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("variable %s: its value holds a NUL byte", e.Name)
		}
		values[e.Name] = value
	}
	return values, nil
}

// secret says which declared variables have values that are in files, or that
// refer to such.
func secret(env []desired.EnvVar) map[string]bool {
	const mark = "\x00" // is in no value
	secret, values := map[string]bool{}, map[string]string{}
	for _, e := range env {
		values[e.Name] = desired.ExpandOne(e.Value, values)
		if e.ValueFrom != nil {
			values[e.Name] = mark
		}
		secret[e.Name] = strings.Contains(values[e.Name], mark)
	}
	return secret
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
	before := p.Capabilities
	p.Capabilities = capabilities(slices.Compact(set))
	// What a bundle hands on to programs is less by what is dropped, and no more.
	left := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(p.Capabilities.Bounding, name) })
	}
	p.Capabilities.Inheritable, p.Capabilities.Ambient = left(before.Inheritable), left(before.Ambient)
}

func capabilities(names []string) *specs.LinuxCapabilities {
	set := make([]string, len(names))
	for i, n := range names {
		set[i] = "CAP_" + n
	}
	return &specs.LinuxCapabilities{Bounding: set, Effective: set, Permitted: set}
}
