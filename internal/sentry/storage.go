package sentry

import (
	"encoding/json"
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/atomicbitops"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	gvsync "gvisor.dev/gvisor/pkg/sync"
)

// StorageSink names what bounds containers' writable layers while they are in
// use, and tells how much is in them: a sink, in gVisor's words, of a trace
// session that traces nothing. If its configuration holds "limits", Storage by
// the container's name, that replaces what was said before. The file that came
// along, if any, gets a JSON object with StorageUse by the container's name.
const StorageSink = "sandboxer-storage"

// Storage bounds a writable layer; 0 is no bound.
type Storage struct {
	Bytes uint64 `json:"bytes,omitempty"`
	Files uint64 `json:"files,omitempty"`
}

// StorageUse is what is in a writable layer, and the bound in force.
type StorageUse struct {
	Bytes uint64  `json:"bytes"`
	Files uint64  `json:"files"`
	Bound Storage `json:"bound"`
}

// unbounded is how many pages gVisor takes for as many as there are.
const unbounded = math.MaxInt64 / hostarch.PageSize

// storage bounds the layers. gVisor bounds them too, but only as it was told
// when it made them.
type storage struct {
	meter *meter

	over   atomic.Bool // some layer has held more than it may, when last looked at
	mu     sync.Mutex
	limits map[string]Storage
	asking int // applications that are told how much is free
}

// set is the sink's constructor.
func (s *storage) set(config map[string]any, to *fd.FD) (seccheck.Sink, error) {
	if to != nil {
		defer to.Close()
	}
	k := s.meter.kernel.Load()
	if k == nil {
		return nil, errors.New("no task was ever made")
	}
	if limits, ok := config["limits"]; ok {
		b, err := json.Marshal(limits)
		if err != nil {
			return nil, err
		}
		var said map[string]Storage
		if err := json.Unmarshal(b, &said); err != nil {
			return nil, err
		}
		s.bound(k, said)
	}
	if to == nil {
		return sink{}, nil
	}
	used := map[string]StorageUse{}
	for _, l := range layers(k) {
		u := used[l.container]
		u.Bytes += l.pagesUsed.Load() * hostarch.PageSize
		u.Files += l.inodesUsed.Load()
		u.Bound.Files = atomic.LoadUint64(l.maxInodes)
		if pages := atomic.LoadUint64(l.maxPages); pages < unbounded {
			u.Bound.Bytes = pages * hostarch.PageSize
		}
		used[l.container] = u
	}
	return sink{}, json.NewEncoder(to).Encode(used)
}

func (s *storage) bound(k *kernel.Kernel, limits map[string]Storage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = limits
	s.apply(k)
}

// apply puts the limits in force.
func (s *storage) apply(k *kernel.Kernel) {
	over := false
	for _, l := range layers(k) {
		limit := s.limits[l.container]
		pages := uint64(unbounded)
		if limit.Bytes > 0 {
			pages, _ = hostarch.ToPagesRoundUp(limit.Bytes)
		}
		over = s.limitTo(l.maxPages, pages, l.pagesUsed) || over
		files := limit.Files
		if files == 0 {
			files = math.MaxInt64
		}
		over = s.limitTo(l.maxInodes, files, l.inodesUsed) || over
	}
	s.over.Store(over)
}

// limitTo sets a bound. gVisor takes what is in use from it to tell what is free,
// so for as long as an application asks that it is no less than that.
func (s *storage) limitTo(bound *uint64, to uint64, used *atomicbitops.Uint64) (over bool) {
	in := used.Load()
	if s.asking > 0 {
		atomic.StoreUint64(bound, max(to, in))
	} else {
		atomic.StoreUint64(bound, to)
	}
	return in > to
}

// told is a system call that tells what is free.
func (s *storage) told(call kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if !s.over.Load() {
			return call(t, sysno, args)
		}
		ask := func(n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asking += n
			s.apply(t.Kernel())
		}
		ask(1)
		defer ask(-1)
		return call(t, sysno, args)
	}
}

// limitStorage makes known to gVisor what bounds layers.
func limitStorage(m *meter) {
	s := &storage{meter: m}
	seccheck.RegisterSink(seccheck.SinkDesc{Name: StorageSink, New: s.set})
	inFront(s.told, "statfs", "fstatfs")
}

// layer is the file system in memory of gVisor's that is a container's writable
// layer.
type layer struct {
	container             string // its name
	maxPages, maxInodes   *uint64
	pagesUsed, inodesUsed *atomicbitops.Uint64
}

// layers finds them by the names of their files, which are the containers'. One
// that has ended can have left one that goes later.
func layers(k *kernel.Kernel) (found []layer) {
	mu := member[gvsync.Mutex](k.VFS(), "filesystemsMu")
	mu.Lock()
	defer mu.Unlock()
	for fs := range *member[map[*vfs.Filesystem]struct{}](k.VFS(), "filesystems") {
		if fs.FilesystemType().Name() != tmpfs.Name {
			continue
		}
		file := (*member[*pgalloc.MemoryFile](fs.Impl(), "mf")).ResourceID()
		if file.Path != "/" {
			continue
		}
		found = append(found, layer{
			file.ContainerName,
			member[uint64](fs.Impl(), "maxSizeInPages"), member[uint64](fs.Impl(), "maxInodes"),
			member[atomicbitops.Uint64](fs.Impl(), "pagesUsed"), member[atomicbitops.Uint64](fs.Impl(), "inodesUsed"),
		})
	}
	return found
}
