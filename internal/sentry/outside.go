package sentry

import (
	gocontext "context"
	"errors"
	"reflect"
	"sync"
	"time"
	_ "unsafe" // for linkname

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/fuse"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/overlay"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/state"
	gvsync "gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/waiter"
)

// What is asked of the sentry from outside, such as to make a process, it does with
// locks of the whole sandbox held. It must not wait for an application then: a path
// may lead to a file system that a container serves, or to a pipe that nobody
// writes to. A goroutine that is no task's waits for neither.

// waitsNot is the context of what no task does, in place of gVisor's own.
type waitsNot struct{ gocontext.Context }

// errWaits is what gVisor's own context says of a wait that ended early.
var errWaits = errors.New("interrupted system call")

func (waitsNot) Debugf(format string, v ...any)   { log.Debugf(format, v...) }
func (waitsNot) Infof(format string, v ...any)    { log.Infof(format, v...) }
func (waitsNot) Warningf(format string, v ...any) { log.Warningf(format, v...) }
func (waitsNot) IsLogging(level log.Level) bool   { return log.IsLogging(level) }

func (waitsNot) Interrupt()                  {}
func (waitsNot) Interrupted() bool           { return false }
func (waitsNot) Killed() bool                { return false }
func (waitsNot) UninterruptibleSleepStart()  {}
func (waitsNot) UninterruptibleSleepFinish() {}

func (waitsNot) Block(c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	default:
		return errWaits
	}
}

func (waitsNot) BlockOn(waiter.Waitable, waiter.EventMask) bool { return false }

func (waitsNot) BlockWithTimeout(_ chan struct{}, _ bool, timeout time.Duration) (time.Duration, error) {
	return timeout, errWaits
}

func (waitsNot) BlockWithTimeoutOn(_ waiter.Waitable, _ waiter.EventMask, timeout time.Duration) (time.Duration, bool) {
	return timeout, false
}

// background is what gVisor's context.Background returns, made once. A gVisor
// without the variables does not link.
//
//go:linkname background gvisor.dev/gvisor/pkg/context.bgContext
var background context.Context

//go:linkname backgroundOnce gvisor.dev/gvisor/pkg/context.bgOnce
var backgroundOnce sync.Once

// waitForNobody is called before anything has a context.
func waitForNobody() {
	backgroundOnce.Do(func() { background = waitsNot{gocontext.Background()} })
	state.Register((*served)(nil))
	state.Register((*guardedType)(nil))
}

// layering marks the context in which an overlay looks for its layers.
type layering struct{}

// guardedType is a type of file system that may come to wait for an application:
// FUSE does, and an overlay would, with a layer of FUSE. Locks of an overlay can't
// be told from those of containers' own root file systems, so that has none.
type guardedType struct{ vfs.FilesystemType }

// GetFilesystem implements vfs.FilesystemType.
func (g *guardedType) GetFilesystem(ctx context.Context, v *vfs.VirtualFilesystem, creds *auth.Credentials, source string, opts vfs.GetFilesystemOptions) (*vfs.Filesystem, *vfs.Dentry, error) {
	if g.Name() == overlay.Name {
		return g.FilesystemType.GetFilesystem(context.WithValue(ctx, layering{}, true), v, creds, source, opts)
	}
	fs, root, err := g.FilesystemType.GetFilesystem(ctx, v, creds, source, opts)
	if err == nil { // nobody else has it yet
		impl := member[vfs.FilesystemImpl](fs, "impl")
		*impl = &served{*impl}
	}
	return fs, root, err
}

// served is a file system that an application serves. Paths of it are for tasks
// alone: who looks one up may wait for the application, or for a lock that another
// one holds who does.
type served struct{ vfs.FilesystemImpl }

// refused is the answer for who must not wait.
func refused(ctx context.Context) error {
	if kernel.TaskFromContext(ctx) == nil || ctx.Value(layering{}) != nil {
		return linuxerr.EACCES
	}
	return nil
}

// GetDentryAt implements vfs.FilesystemImpl.
func (s *served) GetDentryAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.GetDentryOptions) (*vfs.Dentry, error) {
	if err := refused(ctx); err != nil {
		return nil, err
	}
	return s.FilesystemImpl.GetDentryAt(ctx, rp, opts)
}

// OpenAt implements vfs.FilesystemImpl.
func (s *served) OpenAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.OpenOptions) (*vfs.FileDescription, error) {
	if err := refused(ctx); err != nil {
		return nil, err
	}
	return s.FilesystemImpl.OpenAt(ctx, rp, opts)
}

// StatAt implements vfs.FilesystemImpl.
func (s *served) StatAt(ctx context.Context, rp *vfs.ResolvingPath, opts vfs.StatOptions) (linux.Statx, error) {
	if err := refused(ctx); err != nil {
		return linux.Statx{}, err
	}
	return s.FilesystemImpl.StatAt(ctx, rp, opts)
}

// guard has file systems be guarded that are mounted from here on. It is called
// before the first task of a kernel runs.
func guard(k *kernel.Kernel) {
	mu := member[gvsync.RWMutex](k.VFS(), "fsTypesMu")
	mu.Lock()
	defer mu.Unlock()
	types := reflect.ValueOf(k.VFS()).Elem().FieldByName("fsTypes")
	for _, name := range []string{fuse.Name, overlay.Name} {
		registered := types.MapIndex(reflect.ValueOf(name))
		if !registered.IsValid() {
			continue // there is none to mount
		}
		of := reflect.NewAt(registered.Type().Elem(), registered.UnsafePointer()).Interface()
		fsType := member[vfs.FilesystemType](of, "fsType")
		if _, ok := (*fsType).(*guardedType); !ok { // as what is restored has it
			*fsType = &guardedType{*fsType}
		}
	}
}

// What gVisor makes of a type that is saved in checkpoints.

// StateTypeName implements state.Type.
func (*served) StateTypeName() string { return "sandboxer.served" }

// StateFields implements state.Type.
func (*served) StateFields() []string { return []string{"FilesystemImpl"} }

// StateSave implements state.SaverLoader.
func (s *served) StateSave(to state.Sink) { to.Save(0, &s.FilesystemImpl) }

// StateLoad implements state.SaverLoader.
func (s *served) StateLoad(_ gocontext.Context, from state.Source) { from.Load(0, &s.FilesystemImpl) }

// StateTypeName implements state.Type.
func (*guardedType) StateTypeName() string { return "sandboxer.guardedType" }

// StateFields implements state.Type.
func (*guardedType) StateFields() []string { return []string{"FilesystemType"} }

// StateSave implements state.SaverLoader.
func (g *guardedType) StateSave(to state.Sink) { to.Save(0, &g.FilesystemType) }

// StateLoad implements state.SaverLoader.
func (g *guardedType) StateLoad(_ gocontext.Context, from state.Source) {
	from.Load(0, &g.FilesystemType)
}
