package sentry

import (
	"encoding/json"
	"errors"
	"hash/fnv"
	"strings"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/platform"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	"gvisor.dev/gvisor/pkg/sentry/usage"
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
		t.SetMemCgID(number(t.ContainerID()))
		m.kernel.Store(t.Kernel())
		further(t)
	}
	return m.Platform.NewContext(ctx)
}

// number is a container's own, the same for all its instances. It comes of the
// name alone, so that it means the same to another sentry that restores what
// this one saved.
func number(containerID string) uint32 {
	name := containerID
	if i := strings.LastIndexByte(containerID, '.'); i >= 0 {
		name = containerID[:i] // the rest counts the instances
	}
	h := fnv.New32a()
	h.Write([]byte(name))    // never fails
	return h.Sum32() | 1<<31 // gVisor's own numbers begin at 1
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
	if err := k.MemoryFile().UpdateUsage(nil); err != nil {
		return nil, err
	}
	containers, _ := config["containers"].([]any)
	used := make(map[string]uint64, len(containers))
	for _, c := range containers {
		if id, ok := c.(string); ok {
			stats, _ := usage.MemoryAccounting.CopyPerCg(number(id))
			used[id] = stats.Anonymous + stats.PageCache + stats.Tmpfs
		}
	}
	return sink{}, json.NewEncoder(to).Encode(used)
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
	seccheck.RegisterSink(seccheck.SinkDesc{Name: FastPathSink, New: new(fastPath).set})
}
