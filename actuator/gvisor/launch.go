package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/sandbox"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/internal/infra"
	"sandboxer/internal/sentry"
)

// LauncherArg0 is the name under which a launcher shows in ps, and by which
// the program knows that it is to be one.
const LauncherArg0 = "sandboxer-launch"

// The descriptors that a launcher finds open.
const (
	launchConfigFD     = 3 // reads a LaunchConfig as JSON
	launchResultFD     = 4 // takes a LaunchResult as JSON
	launchDirFD        = 5 // the sandbox's directory
	launchImageFD      = 6 // the infra container's root
	launchCheckpointFD = 7 // the directory of the checkpoint to restore, if there is one
	launchShareFD      = 8 // the first of the sockets of gofers of volumes, in a restore
)

// Bundle is the folder of a sandbox's directory that holds the infra
// container's config.json.
const Bundle = "infra"

// LaunchConfig tells a launcher what sandbox to make.
type LaunchConfig struct {
	ID          string `json:"id"`
	Hostname    string `json:"hostname"`
	HostNetwork bool   `json:"hostNetwork"`
	// Dir is the sandbox's directory as the daemon names it.
	Dir string `json:"dir"`
	// MemoryBytes and CPUs are what applications are to see; 0: the host's.
	MemoryBytes int64   `json:"memoryBytes"`
	CPUs        float64 `json:"cpus"`
	// UserLog is the path of Create.UserLog in the launcher; empty: none.
	UserLog string `json:"userLog,omitempty"`
	// Restore says that the sandbox is to be restored from a checkpoint, and
	// Shares name the volumes that its containers share there.
	Restore bool     `json:"restore,omitempty"`
	Shares  []string `json:"shares,omitempty"`
}

// LaunchResult is what became of it.
type LaunchResult struct {
	Error string `json:"error,omitempty"`
	// PID is the sentry's, valid when Error is empty: it then belongs to the
	// launcher's parent, or that one's subreaper.
	PID                 int    `json:"pid"`
	ControlSocket       string `json:"controlSocket"`
	OriginalOOMScoreAdj int    `json:"originalOOMScoreAdj"`
}

// LaunchMain is the launcher process, which is in the sandbox's cgroup: it
// creates the sandbox and starts its infra container, reports and ends. It
// returns the exit status.
func LaunchMain() int {
	log.SetTarget(&log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}})
	// gVisor would boot programs of other names that lie in a folder beside this
	// one, in place of this one: there is none where a folder can't be.
	if err := os.Setenv("GVISOR_SIDECAR_BINARIES_DIR", os.DevNull); err != nil {
		return 1
	}
	unix.CloseOnExec(launchResultFD)
	result := os.NewFile(launchResultFD, "result")
	r, err := launch(json.NewEncoder(result))
	if err != nil {
		r = LaunchResult{Error: err.Error()}
	}
	if err := json.NewEncoder(result).Encode(r); err != nil || r.Error != "" {
		return 1
	}
	return 0
}

func launch(early *json.Encoder) (LaunchResult, error) {
	var c LaunchConfig
	config := os.NewFile(launchConfigFD, "config")
	if err := json.NewDecoder(config).Decode(&c); err != nil {
		return LaunchResult{}, fmt.Errorf("reading the launcher's configuration: %w", err)
	}
	config.Close()
	if err := unprotect(); err != nil {
		return LaunchResult{}, err
	}
	// gVisor donates the caller's standard files to the first container.
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return LaunchResult{}, err
	}
	os.Stdin, os.Stdout, os.Stderr = null, null, null
	return create(c, early)
}

// unprotect drops an OOM score that protects the daemon, which its service
// manager may have given it: it is not meant for sandboxes.
func unprotect() error {
	const path = "/proc/self/oom_score_adj"
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(b), "-") {
		return nil
	}
	return os.WriteFile(path, []byte("0"), 0)
}

// create makes the sandbox. gVisor puts the control socket into the first of
// several directories whose name leaves a short enough path, so it is given
// the sandbox's directory by descriptor.
func create(c LaunchConfig, early *json.Encoder) (LaunchResult, error) {
	dir := "/proc/self/fd/" + strconv.Itoa(launchDirFD)
	conf, err := runscConfig(dir, c.HostNetwork)
	if err != nil {
		return LaunchResult{}, err
	}
	spec, err := infraSpec(c)
	if err != nil {
		return LaunchResult{}, err
	}
	served := []*os.File{os.NewFile(launchImageFD, "infra image")}
	confs := specutils.GoferMountConfFlags{{Lower: specutils.Erofs, Upper: specutils.NoOverlay}}
	for i, key := range c.Shares {
		spec.Mounts = append(spec.Mounts, sentry.ShareMount(key))
		served = append(served, os.NewFile(uintptr(launchShareFD+i), "volume"))
		confs = append(confs, specutils.GoferMountConf{Lower: specutils.Lisafs, Upper: specutils.NoOverlay})
	}
	bundle := filepath.Join(c.Dir, Bundle)
	if err := writeSpec(bundle, spec); err != nil {
		return LaunchResult{}, err
	}
	sb, err := sandbox.New(conf, &sandbox.Args{
		ID:              c.ID,
		Spec:            spec,
		BundleDir:       bundle,
		IOFiles:         served,
		GoferMountConfs: confs,
		MountHints:      &boot.PodMountHints{},
		UserLog:         c.UserLog,
		Cgroup:          visible{memory: c.MemoryBytes, cpus: c.CPUs},
	})
	if err != nil {
		return LaunchResult{}, fmt.Errorf("creating the sandbox: %w", err)
	}
	if len(c.Shares) > 0 {
		// Who is to serve them must know the sentry, which may ask before all is
		// restored.
		if err := early.Encode(LaunchResult{PID: sb.Getpid()}); err != nil {
			return LaunchResult{}, errors.Join(err, sb.DestroyContainer(c.ID))
		}
	}
	if c.Restore {
		err = sb.Restore(conf, spec, c.ID, "/proc/self/fd/"+strconv.Itoa(launchCheckpointFD), false, false, nil)
	} else {
		err = sb.StartRoot(conf, spec)
	}
	if err != nil {
		return LaunchResult{}, errors.Join(fmt.Errorf("starting the infra container: %w", err), sb.DestroyContainer(c.ID))
	}
	return LaunchResult{
		PID:                 sb.Getpid(),
		ControlSocket:       filepath.Join(c.Dir, filepath.Base(sb.ControlSocketPath)),
		OriginalOOMScoreAdj: sb.OriginalOOMScoreAdj,
	}, nil
}

// infraSpec describes the infra container, and with it the sandbox: its user
// namespace, host name and network.
func infraSpec(c LaunchConfig) (*specs.Spec, error) {
	spec := &specs.Spec{
		Version:  specs.Version,
		Hostname: c.Hostname,
		Root:     &specs.Root{Path: "/", Readonly: true},
		Process: &specs.Process{
			Args:            []string{infra.Command},
			Cwd:             "/",
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
		}},
		Annotations: map[string]string{
			specutils.ContainerdContainerTypeAnnotation: specutils.ContainerdContainerTypeSandbox,
			specutils.ContainerdSandboxIDAnnotation:     c.ID,
			specutils.ContainerdContainerNameAnnotation: sentry.InfraName,
		},
	}
	if c.HostNetwork {
		// The host's network belongs to the host's user namespace, and so must
		// the sentry that is to configure sockets in it.
		return spec, nil
	}
	// Directfs lets the sentry open files itself. A user namespace of its own,
	// in which every ID means itself, keeps its capabilities off the host.
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	var err error
	if spec.Linux.UIDMappings, err = identityMapping("/proc/self/uid_map"); err != nil {
		return nil, err
	}
	spec.Linux.GIDMappings, err = identityMapping("/proc/self/gid_map")
	return spec, err
}

func writeSpec(bundle string, spec *specs.Spec) error {
	if err := os.MkdirAll(bundle, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), b, 0o600)
}

func identityMapping(path string) ([]specs.LinuxIDMapping, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var maps []specs.LinuxIDMapping
	for line := range strings.Lines(string(b)) {
		var inside, outside, size uint32
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		maps = append(maps, specs.LinuxIDMapping{ContainerID: inside, HostID: inside, Size: size})
	}
	return maps, nil
}

// visible is the cgroup that gVisor is told of: it answers how much memory and
// how many CPUs applications are to see. The real cgroup, with headroom for
// the sentry itself, is made by the daemon before any process exists.
type visible struct {
	memory int64
	cpus   float64
}

func (visible) Install(*specs.LinuxResources) error { return nil }
func (visible) Update(*specs.LinuxResources) error  { return nil }
func (visible) Uninstall() error                    { return nil }
func (visible) Join() (func(), error)               { return func() {}, nil }
func (visible) CloneIntoCgroup() (*os.File, error)  { return nil, nil }
func (visible) CPUUsage() (uint64, error)           { return 0, errors.ErrUnsupported }
func (visible) NumCPU() (int, error)                { return runtime.NumCPU(), nil }
func (visible) MakePath(string) string              { return "" }

// cpuPeriod is the kernel's own default, in microseconds.
const cpuPeriod = 100_000

func (visible) CPUPeriod() (int64, error) { return cpuPeriod, nil }

// CPUQuota is in microseconds per period; gVisor takes a number that is not
// positive for none.
func (v visible) CPUQuota() (int64, error) {
	if v.cpus == 0 {
		return -1, nil
	}
	return int64(math.Ceil(v.cpus * cpuPeriod)), nil
}

func (v visible) MemoryLimit() (uint64, error) {
	if v.memory == 0 {
		return 1<<63 - 1, nil
	}
	return uint64(v.memory), nil
}
