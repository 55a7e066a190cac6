package sentry

import (
	"encoding/json"
	"strings"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
)

// TasksSink names what bounds how many tasks containers have: a sink, in
// gVisor's words, of a trace session that traces nothing. Its configuration
// holds "limits", Tasks by the container's ID without its last part, which
// counts the instances; it replaces what was said before.
const TasksSink = "sandboxer-tasks"

// Tasks bounds a container; 0 is no bound.
type Tasks struct {
	Tasks     int `json:"tasks,omitempty"`     // threads of all its processes
	Processes int `json:"processes,omitempty"` // each of which is some of the host's
}

// taskLimits refuse system calls that would make too many tasks. gVisor's own
// ways would not do: RLIMIT_NPROC counts users, over all containers, and spares
// who has CAP_SYS_ADMIN; the pids controller of its cgroups needs a mount that
// shows inside.
type taskLimits struct {
	mu     sync.Mutex
	limits map[string]Tasks
	making map[string]int // by ID: tasks that are let through and not there yet
}

// set is the sink's constructor.
func (l *taskLimits) set(config map[string]any, _ *fd.FD) (seccheck.Sink, error) {
	b, err := json.Marshal(config["limits"])
	if err != nil {
		return nil, err
	}
	var limits map[string]Tasks
	if err := json.Unmarshal(b, &limits); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = limits
	return sink{}, nil
}

// of is the limit of a container's instance.
func (l *taskLimits) of(containerID string) Tasks {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits[containerID[:max(0, strings.LastIndexByte(containerID, '.'))]]
}

// enter counts a task that is about to be made, leave one that is there, or is
// not to be.
func (l *taskLimits) enter(containerID string) (making int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.making[containerID]++
	return l.making[containerID]
}

func (l *taskLimits) leave(containerID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.making[containerID]--; l.making[containerID] == 0 {
		delete(l.making, containerID)
	}
}

// bounded is a system call that makes a task, with the limits in front of it.
// Those that are being made count as there: of many at once no more get through
// than there is room for.
func (l *taskLimits) bounded(call kernel.SyscallFn, flags func(arch.SyscallArguments) uint64) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		id := t.ContainerID()
		limit := l.of(id)
		thread := flags(args)&linux.CLONE_THREAD != 0
		if limit.Tasks == 0 && (limit.Processes == 0 || thread) {
			return call(t, sysno, args)
		}
		making := l.enter(id)
		defer l.leave(id)
		if limit.Tasks > 0 && t.Kernel().RootPIDNamespace().NumTasksPerContainer(id)+making > limit.Tasks ||
			limit.Processes > 0 && !thread && processes(t.Kernel(), id)+making > limit.Processes {
			return 0, nil, linuxerr.EAGAIN
		}
		return call(t, sysno, args)
	}
}

// processes counts those of a container, also ones that have ended and were not
// waited for.
func processes(k *kernel.Kernel, containerID string) (n int) {
	k.TaskSet().ForEachThreadGroup(func(_ *kernel.ThreadGroup, leader *kernel.Task) {
		if leader != nil && leader.ContainerID() == containerID {
			n++
		}
	})
	return n
}

// limitTasks puts the limits in front of all system calls that make tasks. A
// version of gVisor that has others makes it panic, in the first test.
func limitTasks() {
	l := &taskLimits{making: map[string]int{}}
	seccheck.RegisterSink(seccheck.SinkDesc{Name: TasksSink, New: l.set})
	flags := map[string]func(arch.SyscallArguments) uint64{
		"fork":  func(arch.SyscallArguments) uint64 { return 0 },
		"vfork": func(arch.SyscallArguments) uint64 { return 0 },
		"clone": func(args arch.SyscallArguments) uint64 { return args[0].Uint64() },
		// Its flags are in the application's memory, which can change until they
		// are obeyed: each may make a process.
		"clone3": func(arch.SyscallArguments) uint64 { return 0 },
	}
	for _, table := range kernel.SyscallTables() {
		found := 0
		for number, call := range table.Table {
			if of := flags[call.Name]; of != nil {
				call.Fn = l.bounded(call.Fn, of)
				table.Table[number] = call
				found++
			}
		}
		if found < 2 { // arm64 has clone and clone3
			panic("sentry: gVisor has other system calls that make tasks")
		}
		table.Init()
	}
}
