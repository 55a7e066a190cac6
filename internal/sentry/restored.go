package sentry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime/debug"
	"time"
	"unsafe"

	"github.com/google/subcommands"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/cpuid"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/metric"
	"gvisor.dev/gvisor/pkg/ring0"
	"gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/cmd/util"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/flag"
	"gvisor.dev/gvisor/runsc/specutils"
)

// RestoredAnnotation, on the infra container's specification, says that the
// sandbox is to be restored from a checkpoint.
const RestoredAnnotation = "sandboxer.restored"

// command is gVisor's boot command. This gVisor starts no container in a
// sandbox that was restored, so that none could be made anew in it; a newer one
// does. What decides is one variable deep inside, which only the one who makes
// the sandbox can reach. So the last step of a restored sandbox's boot is done
// here, with the same calls, and all other steps and sandboxes are gVisor's.
type command struct{ cmd.Boot }

// Execute runs the process, or executes itself for its next step.
func (c *command) Execute(ctx context.Context, f *flag.FlagSet, args ...any) subcommands.ExitStatus {
	last := f.Lookup("setup-root").Value.String() == "false" && f.Lookup("apply-caps").Value.String() == "false"
	if !last || !restored(integer(f, "spec-fd")) {
		return c.Boot.Execute(ctx, f, args...)
	}
	status, err := runRestored(f, args[0].(*config.Config))
	if err != nil {
		util.Fatalf("running the sandbox: %v", err)
	}
	*args[1].(*unix.WaitStatus) = status
	return subcommands.ExitSuccess
}

// restored reads the specification, which stays open for others to read.
func restored(fd int) bool {
	var spec specs.Spec
	all := io.NewSectionReader(descriptor(fd), 0, 1<<20)
	return json.NewDecoder(all).Decode(&spec) == nil && spec.Annotations[RestoredAnnotation] != ""
}

// descriptor reads a file that is another's to close.
type descriptor int

// ReadAt is that of io.ReaderAt.
func (d descriptor) ReadAt(b []byte, at int64) (int, error) {
	n, err := unix.Pread(int(d), b, at)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

func integer(f *flag.FlagSet, name string) int { return flag.Get(f.Lookup(name).Value).(int) }

// runRestored does what the boot command does at last, for the flags that the
// launcher's sandboxes have.
func runRestored(f *flag.FlagSet, conf *config.Config) (unix.WaitStatus, error) {
	debug.SetTraceback(conf.Traceback)
	cpuid.Initialize()
	ring0.InitDefault()
	specFile := os.NewFile(uintptr(integer(f, "spec-fd")), "spec file")
	spec, err := specutils.ReadSpecFromFile(f.Lookup("bundle").Value.String(), specFile, conf)
	if err != nil {
		return 0, err
	}
	if err := specFile.Close(); err != nil {
		return 0, err
	}
	unix.Umask(0) // modes come with the application's umask applied
	list := func(name string) []int { return f.Lookup(name).Value.(interface{ GetArray() []int }).GetArray() }
	size := func(name string) uint64 { return flag.Get(f.Lookup(name).Value).(uint64) }
	l, err := boot.New(boot.Args{
		ID: f.Arg(0), Spec: spec, Conf: conf,
		ControllerFD:     integer(f, "controller-fd"),
		Device:           fd.New(integer(f, "device-fd")),
		GoferFDs:         list("io-fds"),
		DevGoferFD:       integer(f, "dev-io-fd"),
		StdioFDs:         list("stdio-fds"),
		ExecFD:           integer(f, "exec-fd"),
		GoferMountConfs:  f.Lookup("gofer-mount-confs").Value.(*boot.GoferMountConfFlags).GetArray(),
		NumCPU:           integer(f, "cpu-num"),
		TotalMem:         size("total-memory"),
		TotalHostMem:     size("total-host-memory"),
		ProductName:      f.Lookup("product-name").Value.String(),
		PodInitConfigFD:  integer(f, "pod-init-config-fd"),
		RootfsUpperTarFD: integer(f, "rootfs-upper-tar-fd"),
	})
	if err != nil {
		return 0, err
	}
	defer l.Destroy()
	l.PreSeccompCallback = func() {
		validateOpenFDs(nil)
		umountProc(integer(f, "proc-mount-sync-fd"))
	}
	metric.Initialize()
	go allowStarts(l)
	ready := os.NewFile(uintptr(integer(f, "start-sync-fd")), "start-sync file")
	if _, err := ready.Write([]byte{0}); err != nil {
		return 0, fmt.Errorf("reporting the start: %w", err)
	}
	ready.Close()
	l.WaitForStartSignal()
	if err := l.Run(); err != nil {
		return 0, err
	}
	return unix.WaitStatus(l.WaitExit()), nil
}

// The boot command's own last steps before system calls are filtered.
//
//go:linkname validateOpenFDs gvisor.dev/gvisor/runsc/cmd.validateOpenFDs
func validateOpenFDs([]boot.FDMapping)

//go:linkname umountProc gvisor.dev/gvisor/runsc/cmd.umountProc
func umountProc(syncFD int)

// allowStarts lets containers be started once l is restored: it is then in
// every way like one that was started.
func allowStarts(l *boot.Loader) {
	mu := field[sync.Mutex](l, "mu")
	state := reflect.ValueOf(l).Elem().FieldByName("state")
	value := reflect.NewAt(state.Type(), unsafe.Pointer(state.UnsafeAddr())).Elem()
	for {
		mu.Lock()
		switch is := fmt.Sprint(value.Interface()); is {
		case "restored":
			for n := int64(0); fmt.Sprint(value.Interface()) != "started"; n++ {
				value.SetInt(n)
			}
			fallthrough
		case "restoreFailed":
			mu.Unlock()
			return
		}
		mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
}

// field is a field of l that gVisor keeps to itself.
func field[T any](l *boot.Loader, name string) *T {
	f := reflect.ValueOf(l).Elem().FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		panic("sentry: boot.Loader keeps its " + name + " in another way")
	}
	return (*T)(unsafe.Pointer(f.UnsafeAddr()))
}
