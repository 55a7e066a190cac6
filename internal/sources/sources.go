package sources

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/oci"
)

// Host is how a host is looked at. Answers and Paths are required.
type Host struct {
	// Answers says why a path can't be looked at without waiting for ever.
	Answers func(path string) error
	// Paths opens what manifests name.
	Paths hostpath.Resolver
	// BundleHooks says that bundles may have hooks.
	BundleHooks bool
	// Ordered says why a bundle, a hook or a file with a value is not obeyed.
	// Optional.
	Ordered func(path string) error
	// Inside says whether what is in a root, a path without links, can be looked
	// at without waiting for ever. Optional: it can.
	Inside func(root string) bool
	// Checkpoint says why a sandbox can't be restored from a directory. Optional.
	Checkpoint func(s *desired.Sandbox, dir string) error
	// Unknown says that an error tells nothing of what is there: nothing is made
	// of it. Optional.
	Unknown func(error) bool
}

// Sandbox is all that the host has against a sandbox.
func (h Host) Sandbox(s *desired.Sandbox) []desired.Problem {
	c := h.check(s)
	if from := s.Spec.RestoreFrom; from != "" && h.Checkpoint != nil {
		if err := h.Checkpoint(s, from); err != nil {
			c.fail("spec.restoreFrom", err)
		}
	}
	for i := range s.Spec.Volumes {
		c.volume(i)
	}
	c.containers("spec.initContainers", s.Spec.InitContainers)
	c.containers("spec.containers", s.Spec.Containers)
	return c.problems
}

// Container is what it has against one container of a sandbox, with the volumes
// that this one mounts.
func (h Host) Container(s *desired.Sandbox, c *desired.Container) []desired.Problem {
	found := h.check(s)
	for i, v := range s.Spec.Volumes {
		if slices.ContainsFunc(c.VolumeMounts, func(m desired.VolumeMount) bool { return m.Name == v.Name }) {
			found.volume(i)
		}
	}
	found.container("", c)
	return found.problems
}

func (h Host) check(s *desired.Sandbox) *check {
	return &check{Host: h, s: s, files: map[string]bool{}}
}

// check collects what is wrong with one sandbox.
type check struct {
	Host
	s        *desired.Sandbox
	files    map[string]bool // the volumes that are files
	problems []desired.Problem
}

func (h *check) add(at, format string, args ...any) {
	h.problems = append(h.problems, desired.Problem{File: h.s.Source, Path: strings.TrimPrefix(at, "."), Message: fmt.Sprintf(format, args...), Name: h.s.Name})
}

// fail adds what a look has come to, if that tells anything.
func (h *check) fail(at string, err error) {
	if h.Unknown == nil || !h.Unknown(err) {
		h.add(at, "%v", err)
	}
}

// volume asks for what a volume is made from, or would be beside.
func (h *check) volume(i int) {
	v := &h.s.Spec.Volumes[i]
	p := v.HostPath
	if p == nil {
		return
	}
	at := fmt.Sprintf("spec.volumes[%d].hostPath.path", i)
	h.files[v.Name] = strings.HasPrefix(p.Type, "File")
	kind, made := strings.CutSuffix(p.Type, "OrCreate")
	if made {
		if _, err := h.stat(p.Path); errors.Is(err, unix.ENOENT) {
			return
		}
	}
	h.files[v.Name] = h.exists(at, p.Path, kind)
}

// exists asks for what is to be there, and says whether it is a file.
func (h *check) exists(at, path, kind string) (file bool) {
	info, err := h.stat(path)
	switch {
	case err != nil:
		h.fail(at, err)
		return strings.HasPrefix(kind, "File")
	case strings.HasPrefix(kind, "Directory") && !info.IsDir():
		h.add(at, "%s is not a directory", path)
	case strings.HasPrefix(kind, "File") && !info.Mode().IsRegular():
		h.add(at, "%s is not a regular file", path)
	case kind == program && info.Mode()&0o111 == 0:
		h.add(at, "%s is not executable: chmod +x", path)
	}
	return !info.IsDir()
}

// program is the kind of file that root is to run.
const program = "File, executable"

// order asks for a file that is to be there and obeyed.
func (h *check) order(at, path, kind string) {
	before := len(h.problems)
	h.exists(at, path, kind)
	if h.Ordered != nil && len(h.problems) == before {
		if err := h.Ordered(path); err != nil {
			h.fail(at, err)
		}
	}
}

func (h *check) stat(path string) (os.FileInfo, error) {
	f, err := h.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	return info, asked(err, path)
}

// asked has an error say what was asked for.
func asked(err error, path string) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) && e == err {
		return &fs.PathError{Op: "stat", Path: path, Err: e.Err}
	}
	return err
}

func (h *check) open(path string) (hostpath.File, error) {
	if err := h.Answers(path); err != nil {
		return hostpath.File{}, err
	}
	f, err := h.Paths.Open(path)
	return f, asked(err, path)
}

func (h *check) containers(at string, list []desired.Container) {
	for i := range list {
		h.container(fmt.Sprintf("%s[%d]", at, i), &list[i])
	}
}

func (h *check) container(at string, c *desired.Container) {
	if c.Rootfs != nil {
		if fault := h.noRoot(at+".rootfs.path", c.Rootfs.Path); fault != "" {
			h.add(at+".rootfs.path", "%s", fault)
		}
		h.root(at, c, &specs.Spec{Root: &specs.Root{Path: c.Rootfs.Path, Readonly: c.Rootfs.ReadOnly}})
	}
	if c.Bundle != "" {
		h.bundle(at, c)
	}
	for k, e := range c.Env {
		if e.ValueFrom != nil {
			h.order(fmt.Sprintf("%s.env[%d].valueFrom.file", at, k), e.ValueFrom.File, "File")
		}
	}
	hooks := map[string][]desired.Hook{"prestart": c.Hooks.Prestart, "createRuntime": c.Hooks.CreateRuntime,
		"poststart": c.Hooks.Poststart, "poststop": c.Hooks.Poststop}
	for _, point := range slices.Sorted(maps.Keys(hooks)) {
		for k, hook := range hooks[point] {
			h.order(fmt.Sprintf("%s.hooks.%s[%d].path", at, point, k), hook.Path, program)
		}
	}
	if c.ConsoleSocket != "" {
		h.socket(at+".consoleSocket", c.ConsoleSocket)
	}
	for field, file := range map[string]string{"pidFile": c.PIDFile, "userLog": c.UserLog} {
		if file != "" {
			h.exists(at+"."+field, filepath.Dir(file), "Directory")
		}
	}
}

// noRoot says what is wrong with the directory that is to be a container's root;
// empty: nothing, or nobody knows, or it is said at the field.
func (h *check) noRoot(at, path string) string {
	info, err := h.stat(path)
	switch {
	case errors.Is(err, unix.ENOENT):
		if link, err := os.Readlink(path); err == nil { // it answers: it was looked at
			return fmt.Sprintf("%s is a link that leads to nothing, to %s: make that a directory with the container's files in it", path, link)
		}
		return fmt.Sprintf("there is no directory %s: make it, with the container's files in it", path)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Sprintf("there is no directory %s: something on the way to it is a file", path)
	case err != nil:
		h.fail(at, err)
	case !info.IsDir():
		return path + " is not a directory: name the one that the container's files are in"
	}
	return ""
}

// socket asks for the socket that somebody is to listen at.
func (h *check) socket(at, path string) {
	info, err := h.stat(path)
	switch {
	case errors.Is(err, unix.ENOENT):
		h.add(at, "there is no socket %s: who is to have the terminal has to listen there before the container is started", path)
	case err != nil:
		h.fail(at, err)
	case info.Mode()&fs.ModeSocket == 0:
		h.add(at, "%s is no socket: who is to have the terminal has to listen there", path)
	}
}

// bundle is every reason for which a bundle would be refused, or its container
// not started. Whether its hooks may run the daemon's configuration file says.
func (h *check) bundle(at string, c *desired.Container) {
	file := filepath.Join(c.Bundle, "config.json")
	if h.Ordered != nil {
		if _, err := h.stat(file); err == nil {
			if err := h.Ordered(file); err != nil {
				h.fail(at+".bundle", err)
				return
			}
		}
	}
	spec, err := oci.Read(h.Paths, c.Bundle, oci.Manifest{Container: c, Hostname: h.s.Spec.Hostname, Hooks: h.BundleHooks})
	if refused, ok := errors.AsType[*oci.Refused](err); ok {
		for _, fault := range refused.Faults {
			h.add(at+".bundle", "%s: %s", file, fault)
		}
	} else if err != nil {
		h.fail(at+".bundle", fmt.Errorf("%s: %w", file, err))
		return
	}
	if spec.Root == nil || spec.Root.Path == "" {
		return
	}
	if fault := h.noRoot(at+".bundle", spec.Root.Path); fault != "" {
		h.add(at+".bundle", "%s: root.path: %s", file, fault)
	}
	for i, m := range spec.Mounts {
		if !oci.IsBind(m) {
			continue
		}
		if _, err := h.stat(m.Source); err != nil {
			h.fail(at+".bundle", fmt.Errorf("%s: mounts[%d] (%s): %w", file, i, m.Destination, err))
		}
	}
	h.root(at, c, spec)
}

// root looks into a container's root: for what is in the way of mounts, for its
// command, and at where that begins.
func (h *check) root(at string, c *desired.Container, spec *specs.Spec) {
	root, err := h.open(spec.Root.Path)
	if err != nil {
		return // that is said
	}
	defer root.Close()
	if kind, err := root.Kind(); err != nil || kind != unix.S_IFDIR || h.Inside != nil && !h.Inside(root.Real) {
		return
	}
	readOnly := spec.Root.Readonly
	if r := c.SecurityContext.ReadOnlyRootFilesystem; r != nil {
		readOnly = *r
	}
	type mount struct {
		at    string
		place hostpath.Place
	}
	var mounts []mount
	for _, m := range spec.Mounts {
		info, err := h.stat(m.Source)
		file := oci.IsBind(m) && err == nil && !info.IsDir()
		mounts = append(mounts, mount{at + ".bundle", hostpath.Place{At: path.Clean(m.Destination), File: file, ReadOnly: readOnly}})
	}
	for i, m := range c.VolumeMounts {
		mounts = append(mounts, mount{fmt.Sprintf("%s.volumeMounts[%d].mountPath", at, i),
			hostpath.Place{At: path.Clean(m.MountPath), File: h.files[m.Name], ReadOnly: readOnly}})
	}
	// What is in a mount is not in the root.
	mounted := func(place string) bool {
		return slices.ContainsFunc(mounts, func(m mount) bool { return strings.HasPrefix(place, m.place.At+"/") })
	}
	for _, m := range mounts {
		if mounted(m.place.At) {
			continue
		}
		if why := hostpath.InTheWay(root.File, m.place); why != "" {
			h.add(m.at, "there is no place for the mount at %s: in the root %s, %s", m.place.At, spec.Root.Path, why)
		}
	}
	in := inRoot{root, mounted}
	h.command(at, c, spec, in)
	h.workingDir(at, c, spec, in, readOnly)
}

// command looks for the program of a container, unless a mount may hold it or a
// variable names it.
func (h *check) command(at string, c *desired.Container, spec *specs.Spec, in inRoot) {
	args, at := c.Command, at+".command[0]"
	if len(args) == 0 && spec.Process != nil {
		args, at = spec.Process.Args, strings.TrimSuffix(at, ".command[0]")+".bundle"
	}
	if len(args) == 0 || args[0] == "" || strings.Contains(args[0], "$(") {
		return
	}
	name, search := args[0], []string{""}
	if !path.IsAbs(name) {
		var known bool
		if search, known = searchPath(c, spec); strings.Contains(name, "/") || !known {
			return // it is looked for where it begins, or nobody knows yet where
		}
	}
	for _, folder := range search {
		program, missing := in.find(path.Join(folder, name))
		if program == nil {
			if !missing {
				return
			}
			continue
		}
		defer program.Close()
		info, err := program.Stat()
		switch {
		case err != nil, info.Mode().IsRegular() && info.Mode()&0o111 != 0:
			return
		case path.IsAbs(name):
			h.add(at, "%s is no program: in the root %s it is %s", name, spec.Root.Path, info.Mode())
			return
		}
	}
	switch inside, whole := strings.CutPrefix(name, path.Clean(spec.Root.Path)+"/"); {
	case in.empty():
		h.add(at, "%s is not in the root %s, which is empty: put the container's files there", name, spec.Root.Path)
	case whole:
		h.add(at, "%s is not in the root %s: write the path as the container sees it, /%s", name, spec.Root.Path, inside)
	case path.IsAbs(name):
		h.add(at, "%s is not in the root %s: name a program that is there, as the container sees it", name, spec.Root.Path)
	default:
		h.add(at, "%q is in no folder of the PATH %s in the root %s: name a program that is there", name, strings.Join(search, ":"), spec.Root.Path)
	}
}

// searchPath is where a container's command is looked for; not known where that
// is only as the container is made.
func searchPath(c *desired.Container, spec *specs.Spec) (folders []string, known bool) {
	value := desired.DefaultPath
	if spec.Process != nil {
		for _, e := range spec.Process.Env {
			if v, ok := strings.CutPrefix(e, "PATH="); ok {
				value = v
			}
		}
	}
	for _, e := range c.Env {
		if e.Name == "PATH" {
			value, known = e.Value, e.ValueFrom == nil
			if !known || strings.Contains(value, "$(") {
				return nil, false
			}
		}
	}
	folders = strings.Split(value, ":")
	return folders, !slices.ContainsFunc(folders, func(f string) bool { return !path.IsAbs(f) })
}

// workingDir looks at where a container's command begins: a folder that is not
// there is made, where the root can be written.
func (h *check) workingDir(at string, c *desired.Container, spec *specs.Spec, in inRoot, readOnly bool) {
	dir, at := c.WorkingDir, at+".workingDir"
	if dir == "" && spec.Process != nil {
		dir, at = spec.Process.Cwd, strings.TrimSuffix(at, ".workingDir")+".bundle"
	}
	if !path.IsAbs(dir) {
		return // the root, or it is said
	}
	f, missing := in.find(dir)
	if f != nil {
		defer f.Close()
		if info, err := f.Stat(); err == nil && !info.IsDir() {
			h.add(at, "%s is no directory in the root %s: nothing can begin there", dir, spec.Root.Path)
		}
	}
	if missing && readOnly {
		h.add(at, "%s is not in the root %s, which is read-only: make it", dir, spec.Root.Path)
	}
}

// inRoot looks into a root as its container will see it. mounted says what is in
// a mount.
type inRoot struct {
	root    hostpath.File
	mounted func(place string) bool
}

// empty says that nothing is in the root.
func (r inRoot) empty() bool {
	fd, err := unix.Openat(int(r.root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	dir := os.NewFile(uintptr(fd), r.root.Real)
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// find opens what is at a place, to be closed, or says that nothing is there; it
// does neither where a mount may hold it.
func (r inRoot) find(place string) (file *os.File, missing bool) {
	open := func(name string, flags uint64) (*os.File, error) {
		fd, err := unix.Openat2(int(r.root.Fd()), name, &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	place = path.Clean(place)
	if r.mounted(place + "/") {
		return nil, false
	}
	real := func(f *os.File) (string, error) {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		return path.Join("/", strings.TrimPrefix(name, r.root.Real)), err
	}
	walked := "/"
	for part := range strings.SplitSeq(strings.Trim(place, "/"), "/") {
		next := path.Join(walked, part)
		if f, err := open(next, 0); err == nil {
			f.Close()
			walked = next
			continue
		}
		if f, err := open(next, unix.O_NOFOLLOW); err == nil {
			f.Close()
			return nil, false // a link, into a mount, may be
		}
		folder, err := open(walked, 0)
		if err != nil {
			return nil, false // it has gone since
		}
		at, err := real(folder)
		folder.Close()
		return nil, err == nil && !r.mounted(path.Join(at, part)+"/")
	}
	file, err := open(place, 0)
	if err != nil {
		return nil, false // likewise
	}
	if at, err := real(file); err != nil || r.mounted(at+"/") {
		file.Close()
		return nil, false
	}
	return file, false
}
