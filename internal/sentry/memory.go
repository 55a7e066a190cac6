package sentry

import (
	"encoding/json"
	"errors"
	"hash/fnv"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/platform"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	"gvisor.dev/gvisor/pkg/sentry/usage"
	"gvisor.dev/gvisor/runsc/boot"
)

// MemorySink names what tells how much memory containers use: a sink, in
// gVisor's words, of a trace session. It traces nothing. When a session with it
// is made it writes its answer to the file that came along: a JSON object with
// the bytes in use of each container whose ID is in the list "containers" of
// its configuration.
const MemorySink = "sandboxer-memory"

// gVisor's accounts of memory can be kept by container: each page belongs to
// the memory cgroup, in a numbering of the sentry's own, of the task that first
// used it. But gVisor gives containers different cgroups only if each mounts
// them, which shows inside, lasts as long as the sandbox whatever becomes of the
// container, and counts mapped files of the host as memory. Here every task
// gets the number of its container directly. The platform makes that possible:
// it is called for every task as the last step of making it, before the task
// runs and uses anything.

// meter is the platform that the sentry runs on.
type meter struct {
	platform.Platform
	kernel atomic.Pointer[kernel.Kernel]
}

// NewContext is called with the task and its task set locked.
func (m *meter) NewContext(ctx context.Context) platform.Context {
	if t := kernel.TaskFromContext(ctx); t != nil {
		if m.kernel.Swap(t.Kernel()) != t.Kernel() {
			guard(t.Kernel())
		}
		// What is restored has what it had, as its pages have.
		if l, ok := t.Kernel().Saver().(*boot.Loader); ok {
			t.SetMemCgID(number(t.ContainerID()))
			further(t, l)
		}
	}
	return &inSpace{Context: m.Platform.NewContext(ctx)}
}

// number is one instance's of a container: what an earlier one has left in
// /dev/shm is the sandbox's.
func number(containerID string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(containerID)) // never fails
	return h.Sum32() | 1<<31     // gVisor's own numbers begin at 1
}

// numbers are those by which pages of containers are known: of what was restored,
// also those that its processes had in the sandbox that was saved.
func numbers(k *kernel.Kernel) map[string]map[uint32]bool {
	numbers := map[string]map[uint32]bool{}
	k.TaskSet().ForEachThreadGroup(func(_ *kernel.ThreadGroup, leader *kernel.Task) {
		if leader == nil {
			return
		}
		id := leader.ContainerID()
		if numbers[id] == nil {
			numbers[id] = map[uint32]bool{number(id): true}
		}
		numbers[id][pgalloc.MemoryCgroupIDFromContext(leader)] = true
	})
	return numbers
}

// report is the sink's constructor. What applications have mapped of the
// host's files is not counted: the host can take that back.
func (m *meter) report(config map[string]any, to *fd.FD) (seccheck.Sink, error) {
	if to == nil {
		return nil, errors.New("no file to write to")
	}
	defer to.Close()
	k := m.kernel.Load()
	if k == nil {
		return nil, errors.New("no task was ever made")
	}
	var ids []string
	containers, _ := config["containers"].([]any)
	for _, c := range containers {
		id, _ := c.(string)
		ids = append(ids, id)
	}
	used, err := usedBy(k.MemoryFile(), ids, numbers(k))
	if err != nil {
		return nil, err
	}
	return sink{}, json.NewEncoder(to).Encode(used)
}

// usedBy is what containers use at this moment. A scan for all pages, whoever's they
// are, gVisor leaves out without a word for eight times as long as the last one took,
// which on a busy host is seconds: the answer would be an old one, and who relies on
// it would take what has come since for somebody else's. So only those of the
// containers are scanned, which is never left out.
func usedBy(mf *pgalloc.MemoryFile, ids []string, numbers map[string]map[uint32]bool) (map[string]uint64, error) {
	theirs := map[uint32]struct{}{}
	for _, id := range ids {
		for n := range numbers[id] {
			theirs[n] = struct{}{}
		}
	}
	if err := mf.UpdateUsage(theirs); err != nil {
		return nil, err
	}
	used := make(map[string]uint64, len(ids))
	for _, id := range ids {
		used[id] = 0
		for n := range numbers[id] {
			stats, _ := usage.MemoryAccounting.CopyPerCg(n)
			used[id] += stats.Anonymous + stats.PageCache + stats.Tmpfs
		}
	}
	return used, nil
}

type sink struct{ seccheck.SinkDefaults }

func (sink) Name() string { return MemorySink }

// metered makes the meter of the platform that another constructor makes.
type metered struct {
	platform.Constructor
	meter *meter
}

func (c metered) New(opts platform.Options) (platform.Platform, error) {
	p, err := c.Constructor.New(opts)
	if err != nil {
		return nil, err
	}
	c.meter.Platform = p
	return c.meter, nil
}

// meterMemory has every platform that the sentry could run on metered, and
// what needs the kernel that is found that way known to gVisor.
func meterMemory() {
	m := &meter{}
	for _, name := range platform.List() {
		if c, err := platform.Lookup(name); err == nil {
			platform.Register(name, metered{c, m})
		}
	}
	seccheck.RegisterSink(seccheck.SinkDesc{Name: MemorySink, New: m.report})
	seccheck.RegisterSink(seccheck.SinkDesc{Name: DialSink, New: m.dial})
	seccheck.RegisterSink(seccheck.SinkDesc{Name: ShareSink, New: m.share})
	seccheck.RegisterSink(seccheck.SinkDesc{Name: RevokeSink, New: (&revoker{meter: m}).set})
	limitStorage(m)
	seccheck.RegisterSink(seccheck.SinkDesc{Name: ShmSink, New: m.shm})
	seccheck.RegisterSink(seccheck.SinkDesc{Name: UserLogSink, New: setUserLog})
	seccheck.RegisterSink(seccheck.SinkDesc{Name: FastPathSink, New: new(fastPath).set})
}
