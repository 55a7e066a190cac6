package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Errors by meaning; what is returned wraps them and says more.
var (
	// ErrNotFound: the cgroup does not exist, or was removed meanwhile.
	ErrNotFound = errors.New("no such cgroup")
	// ErrUnsupported: the host lacks a controller that a limit needs, or has
	// no cgroups at all.
	ErrUnsupported = errors.New("not supported by this host's cgroups")
	// ErrBusy: the cgroup still holds processes, or uses more memory than the
	// limit that was asked for.
	ErrBusy = errors.New("cgroup is in use")
	// ErrSelf: the cgroup holds the calling process, which will not kill itself.
	ErrSelf = errors.New("the calling process is in this cgroup")
)

// Mode tells the two generations of cgroups apart.
type Mode int

// The modes.
const (
	V1 Mode = 1 // a hierarchy per controller; also hybrid hosts, whose v2 tree has no controllers
	V2 Mode = 2 // one hierarchy
)

// Host is the cgroups of this host.
type Host struct {
	mode Mode
	root string // V2: the mount point
	// V1: the hierarchies that are used, in the order in which they are made.
	subsystems []cgroup1.Subsystem
	// V2: the controllers that are used and that the root offers.
	controllers []string
}

// Detect finds out what this host has. It fails with ErrUnsupported where no
// cgroup file system is mounted.
func Detect() (*Host, error) {
	switch cgroups.Mode() {
	case cgroups.Unified:
		return newV2("/sys/fs/cgroup")
	case cgroups.Legacy, cgroups.Hybrid:
		return newV1()
	default:
		return nil, fmt.Errorf("detecting cgroups: nothing mounted at /sys/fs/cgroup: %w", ErrUnsupported)
	}
}

// used says whether a controller is needed: memory and cpu limit, cpuacct,
// pids and freezer count and thaw; a limit on pids has to leave room for the
// sentry's own tasks, since a sandbox that reaches it dies whole.
func used(controller string) bool {
	switch controller {
	case "memory", "cpu", "cpuacct", "pids", "freezer":
		return true
	}
	return false
}

func newV1() (*Host, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, fmt.Errorf("detecting cgroups: %w", err)
	}
	h := &Host{mode: V1}
	for _, s := range all {
		if used(string(s.Name())) {
			h.subsystems = append(h.subsystems, s)
		}
	}
	if len(h.subsystems) == 0 {
		return nil, fmt.Errorf("detecting cgroups: none of memory, cpu, pids, freezer is mounted: %w", ErrUnsupported)
	}
	return h, nil
}

func newV2(root string) (*Host, error) {
	offered, err := readFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("detecting cgroups: %w", err)
	}
	h := &Host{mode: V2, root: root}
	for _, c := range strings.Fields(string(offered)) {
		if used(c) {
			h.controllers = append(h.controllers, c)
		}
	}
	return h, nil
}

// Mode says which generation is used.
func (h *Host) Mode() Mode { return h.mode }

// has says whether the host offers a controller.
func (h *Host) has(controller string) bool {
	if h.mode == V2 {
		return slices.Contains(h.controllers, controller)
	}
	return slices.ContainsFunc(h.subsystems, func(s cgroup1.Subsystem) bool {
		return string(s.Name()) == controller
	})
}

// pathed is what every v1 subsystem of the library that has a directory does.
type pathed interface{ Path(string) string }

// dir is where a controller keeps the files of a cgroup.
func (h *Host) dir(controller, name string) string {
	if h.mode == V2 {
		return filepath.Join(h.root, name)
	}
	for _, s := range h.subsystems {
		if p, ok := s.(pathed); ok && string(s.Name()) == controller {
			return p.Path(name)
		}
	}
	return ""
}

// dirs are the directories of a cgroup, one per hierarchy.
func (h *Host) dirs(name string) []string {
	if h.mode == V2 {
		return []string{filepath.Join(h.root, name)}
	}
	dirs := make([]string, 0, len(h.subsystems))
	for _, s := range h.subsystems {
		if p, ok := s.(pathed); ok {
			dirs = append(dirs, p.Path(name))
		}
	}
	return dirs
}

// hierarchy hands the used subsystems to the library.
func (h *Host) hierarchy() ([]cgroup1.Subsystem, error) { return h.subsystems, nil }

// checkName refuses what could reach another cgroup than the one named.
func checkName(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return fmt.Errorf("cgroup path %q is not absolute, clean and below the root", name)
	}
	return nil
}

// Cgroup is one cgroup, in all hierarchies that are used.
type Cgroup struct {
	host *Host
	name string
}

// Create makes the cgroup with that path (absolute, below each hierarchy's
// mount point), its parents too, and puts the limits in force. One that exists
// already is completed and gets the limits. The caller is not moved. Where that
// fails, a cgroup that was not there before is removed again (its parents are
// left to Prune).
func (h *Host) Create(name string, l Limits) (*Cgroup, error) {
	c := &Cgroup{host: h, name: name}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := l.check(h); err != nil {
		return nil, fmt.Errorf("creating cgroup %s: %w", name, err)
	}
	_, foundErr := h.Load(name)
	err := c.make()
	if err == nil {
		err = c.Set(l)
	}
	if err == nil {
		return c, nil
	}
	if errors.Is(foundErr, ErrNotFound) {
		err = errors.Join(err, c.remove())
	}
	return nil, fmt.Errorf("creating cgroup %s: %w", name, err)
}

func (c *Cgroup) make() error {
	if c.host.mode == V1 {
		_, err := cgroup1.New(cgroup1.StaticPath(c.name), &specs.LinuxResources{}, cgroup1.WithHierarchy(c.host.hierarchy))
		return err
	}
	// Resources that are present but empty enable their controller in every
	// parent and write nothing, so that limits can be set later, in place.
	r := &cgroup2.Resources{}
	for _, name := range c.host.controllers {
		switch name {
		case "cpu":
			r.CPU = &cgroup2.CPU{}
		case "memory":
			r.Memory = &cgroup2.Memory{}
		case "pids":
			r.Pids = &cgroup2.Pids{}
		}
	}
	if len(r.EnabledControllers()) == 0 {
		return os.MkdirAll(c.host.dir("", c.name), 0o755)
	}
	_, err := cgroup2.NewManager(c.host.root, c.name, r)
	return err
}

// Load finds a cgroup that exists in at least one hierarchy; ErrNotFound
// where it exists in none.
func (h *Host) Load(name string) (*Cgroup, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	for _, dir := range h.dirs(name) {
		if _, err := os.Lstat(dir); err == nil {
			return &Cgroup{host: h, name: name}, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("finding cgroup %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("finding cgroup %s: %w", name, ErrNotFound)
}

// Path is what Create or Load was called with.
func (c *Cgroup) Path() string { return c.name }

// List names the cgroups directly below parent that exist in any hierarchy,
// sorted. A parent that does not exist has none.
func (h *Host) List(parent string) ([]string, error) {
	if err := checkName(parent); err != nil {
		return nil, err
	}
	var names []string
	for _, dir := range h.dirs(parent) {
		below, err := children(dir)
		if err != nil && !gone(err) {
			return nil, fmt.Errorf("listing cgroups below %s: %w", parent, err)
		}
		names = append(names, below...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Prune removes a cgroup that has neither processes nor children, such as the
// parent of all sandboxes when the last has gone. It reports whether none of
// it is left; one that is in use is left alone, which is no error.
func (h *Host) Prune(name string) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	left := false
	for _, dir := range h.dirs(name) {
		switch err := rmdir(dir); {
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTEMPTY):
			left = true
		case err != nil:
			return false, fmt.Errorf("pruning cgroup %s: %w", name, err)
		}
	}
	return !left, nil
}
