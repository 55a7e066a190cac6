package gvisor

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	ctrl "gvisor.dev/gvisor/pkg/control/server"
	"gvisor.dev/gvisor/pkg/hostos"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/internal/memfd"
	"sandboxer/internal/sentry"
)

// The descriptors that a sentry finds open, each with the flag that says so. The
// second is where package cgroup has failures said.
const (
	specFD = 3 + iota
	startSyncFD
	controllerFD
	stdinFD
	stdoutFD
	stderrFD
	firstIOFD // the infra container's root, and volumes
)

// process starts a sentry in the sandbox's cgroup.
func (c *Create) process(conf *config.Config) (_ *booting, err error) {
	spec, confs, err := c.spec()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	var given []*os.File // closed here
	defer func() { closeAll(given) }()
	open := func(f *os.File, err error) (*os.File, error) {
		if err == nil {
			given = append(given, f)
		}
		return f, err
	}
	config, err := open(memfd.Data("sandbox", text))
	if err != nil {
		return nil, err
	}
	said, saying, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	given = append(given, saying)
	defer func() {
		if err != nil {
			said.Close()
		}
	}()
	controller, err := open(c.listen())
	if err != nil {
		return nil, err
	}
	// gVisor donates standard files to the first container.
	null, err := open(os.OpenFile(os.DevNull, os.O_RDWR, 0))
	if err != nil {
		return nil, err
	}
	args, err := c.seen()
	if err != nil {
		return nil, err
	}
	files := append([]*os.File{config, saying, controller, null, null, null, c.Image}, c.Sockets...)
	args = append(args, flagFD("spec-fd", specFD), flagFD("start-sync-fd", startSyncFD), flagFD("controller-fd", controllerFD),
		flagFD("stdio-fds", stdinFD), flagFD("stdio-fds", stdoutFD), flagFD("stdio-fds", stderrFD))
	for i := range 1 + len(c.Sockets) {
		args = append(args, flagFD("io-fds", firstIOFD+i))
	}
	if c.UserLog != nil {
		log, err := open(os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", c.UserLog.Fd()), os.O_WRONLY|os.O_APPEND, 0))
		if err != nil {
			return nil, err
		}
		args = append(args, flagFD("user-log-fd", 3+len(files)))
		files = append(files, log)
	}
	args = append(append(args, "--gofer-mount-confs="+confs.String()), c.ID)

	p := &booting{pidfd: -1, said: said, socket: socketIn(c.Dir, c.ID)}
	cmd := &exec.Cmd{
		Path:        c.Exe,
		Args:        append(append([]string{sentry.Arg0}, conf.ToFlags()...), args...),
		Env:         []string{},
		Dir:         "/",
		ExtraFiles:  files,
		SysProcAttr: isolated(spec, c.HostNetwork),
	}
	cmd.SysProcAttr.PidFD = &p.pidfd
	if err := c.Cgroup.Start(cmd, (*exec.Cmd).Start); err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	// Whoever reaps the daemon's children reaps this one too.
	_ = cmd.Process.Release()
	return p, nil
}

func flagFD(name string, fd int) string { return "--" + name + "=" + strconv.Itoa(fd) }

// spec is the infra container's, with the volumes that are restored with it, and
// how its mounts are served.
func (c *Create) spec() (*specs.Spec, specutils.GoferMountConfFlags, error) {
	spec, err := infraSpec(c.ID, c.Hostname, c.HostNetwork)
	if err != nil {
		return nil, nil, err
	}
	confs := specutils.GoferMountConfFlags{{Lower: specutils.Erofs, Upper: specutils.NoOverlay}}
	for _, key := range c.Shares {
		spec.Mounts = append(spec.Mounts, sentry.ShareMount(key))
		confs = append(confs, specutils.GoferMountConf{Lower: specutils.Lisafs, Upper: specutils.NoOverlay})
	}
	return spec, confs, nil
}

// listen makes the control socket.
func (c *Create) listen() (*os.File, error) {
	dir, err := os.Open(c.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	path := socketIn(c.Dir, c.ID)
	fd, err := ctrl.CreateSocket(byDescriptor(dir, filepath.Base(path)))
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// isolated are the namespaces that a sentry begins in, in a session of its own.
func isolated(spec *specs.Spec, hostNetwork bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWIPC | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID,
	}
	if hostNetwork {
		return a
	}
	a.Cloneflags |= unix.CLONE_NEWNET | unix.CLONE_NEWUSER
	a.UidMappings, a.GidMappings = mappings(spec.Linux.UIDMappings), mappings(spec.Linux.GIDMappings)
	a.Credential = &syscall.Credential{Uid: 0, Gid: 0}
	return a
}

func mappings(of []specs.LinuxIDMapping) (maps []syscall.SysProcIDMap) {
	for _, m := range of {
		maps = append(maps, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return maps
}

// In microseconds, the kernel's own default; and what gVisor does not go below,
// for applications that leave out locks on one processor.
const (
	cpuPeriod = 100_000
	minCPUs   = 2
)

// seen is the boot command with what applications are to see of the machine. The
// real limits, with headroom for the sentry itself, are the cgroup's.
func (c *Create) seen() ([]string, error) {
	host, err := hostos.TotalSystemMemory()
	if err != nil {
		return nil, err
	}
	memory, cpus := host, runtime.NumCPU()
	if c.MemoryBytes > 0 {
		memory = min(memory, uint64(c.MemoryBytes))
	}
	args := []string{
		"boot", "--bundle=" + c.Dir, "--apply-caps=true", "--setup-root",
		"--total-host-memory=" + strconv.FormatUint(host, 10), "--total-memory=" + strconv.FormatUint(memory, 10),
		"--cpu-period=" + strconv.Itoa(cpuPeriod),
	}
	if c.CPUs > 0 {
		cpus = min(cpus, max(int(math.Ceil(c.CPUs)), minCPUs))
		args = append(args, "--cpu-quota="+strconv.FormatInt(int64(math.Ceil(c.CPUs*cpuPeriod)), 10))
	}
	return append(args, "--cpu-num="+strconv.Itoa(cpus)), nil
}
