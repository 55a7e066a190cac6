package api

import (
	"encoding/json"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/events"
)

// Phase is where a sandbox stands, in one word.
type Phase string

// The phases. A declared state that is reached carries the state's own name.
const (
	Pending     Phase = "Pending"   // on its way to the declared state
	Created     Phase = "Created"   // stands ready, no command has been started
	Running     Phase = "Running"   // every container runs, or has ended as its restart policy allows
	Paused      Phase = "Paused"    // frozen
	Stopped     Phase = "Stopped"   // no process is left; records and logs are
	Suspended   Phase = "Suspended" // on disk
	Succeeded   Phase = "Succeeded" // every container ended with 0, for good
	Failed      Phase = "Failed"    // ended with another code for good, or can't be started at present
	Terminating Phase = "Terminating"
	Invalid     Phase = "Invalid" // its document was never accepted
)

// The conditions that scripts may wait for.
const (
	OOMScoreDenied     = "OOMScoreDenied"
	Unsupported        = "Unsupported"
	DeletionHeld       = "DeletionHeld"
	ManifestRejected   = "ManifestRejected"
	RuntimeUnreachable = "RuntimeUnreachable"
	OutputLost         = "OutputLost"
)

// CrashLoopBackOff is why a sandbox is Pending whose container, or which itself,
// ended and is made anew after a wait.
const CrashLoopBackOff = "CrashLoopBackOff"

// Sandbox is one sandbox as declared and as it is.
type Sandbox struct {
	Name         string `json:"name"`
	Source       string `json:"source"`
	DesiredState string `json:"desiredState"` // empty once nothing declares it any more
	// Labels are those that its manifest gives it.
	Labels map[string]string `json:"labels,omitempty"`
	Status Status            `json:"status"`
}

// Status is what is known of a sandbox now.
type Status struct {
	Phase    Phase  `json:"phase"`
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason"` // one CamelCase word; empty when all is well
	Message  string `json:"message"`
	SpecHash string `json:"specHash"`
	Runtime  string `json:"runtime"`
	// SandboxPID is the sentry's host pid; 0 where nothing runs.
	SandboxPID int `json:"sandboxPid"`
	// GVisor is the version that the sentry is of; empty where nothing runs, or
	// nobody knows.
	GVisor string `json:"gvisor,omitempty"`
	// OOMScoreAdj is the sentry's, as read from the kernel; null where nothing runs.
	OOMScoreAdj *int        `json:"oomScoreAdj"`
	Cgroup      string      `json:"cgroup"`
	CreatedAt   *time.Time  `json:"createdAt"`  // of the present sandbox; null where there is none
	Conditions  []Condition `json:"conditions"` // sorted by type; never null
	// InitContainers are in declared order; ready: it has succeeded.
	InitContainers []Container `json:"initContainers,omitempty"`
	Containers     []Container `json:"containers"` // in declared order; never null
}

// All are the containers in the order in which they are started.
func (s *Status) All() []Container { return slices.Concat(s.InitContainers, s.Containers) }

// Condition is a state of affairs that lasts until its cause is gone.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"` // always "True": a condition that does not hold is not listed
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// Container is one container of a sandbox; the infra container never shows.
type Container struct {
	Name  string `json:"name"`
	ID    string `json:"id"`    // empty until its first instance is made
	State string `json:"state"` // creating, created, running, paused, stopped
	Ready bool   `json:"ready"`
	// PID is the command's pid inside the sandbox; 0 where it does not run.
	PID int `json:"pid"`
	// GoferPID is a host pid, null until the container is started and after its end.
	GoferPID      *int `json:"goferPid"`
	GoferRestarts int  `json:"goferRestarts"`
	// GoferSince is when that gofer began to serve, and GoferVersion the version
	// of the daemon that it came with.
	GoferSince   *time.Time `json:"goferSince,omitempty"`
	GoferVersion string     `json:"goferVersion,omitempty"`
	RestartCount int        `json:"restartCount"`
	ExitCode     *int       `json:"exitCode"` // null while it runs, and where nobody knows
	Reason       string     `json:"reason"`
	Message      string     `json:"message,omitempty"`
	StartedAt    *time.Time `json:"startedAt"`
	FinishedAt   *time.Time `json:"finishedAt"`
	NextStartAt  *time.Time `json:"nextStartAt"` // null where no start waits for its time
	// Final: it does not run, and will not unless something else is declared or
	// asked for.
	Final bool `json:"final,omitempty"`
	// LastExit is how the instance before the one that runs now ended.
	LastExit *Exit `json:"lastExit,omitempty"`
}

// Exit is the end of a container's instance.
type Exit struct {
	ID         string     `json:"id"`
	ExitCode   *int       `json:"exitCode"` // null where nobody knows
	Reason     string     `json:"reason"`
	FinishedAt *time.Time `json:"finishedAt"`
}

// List is what GET /v1/sandboxes answers.
type List struct {
	Items []Sandbox `json:"items"`
}

// Change is one line of a watch: a sandbox as it is now, or only its name and
// that it is gone.
type Change struct {
	Sandbox
	Deleted bool
}

// MarshalJSON writes a whole Sandbox, or {"name": …, "deleted": true}.
func (c Change) MarshalJSON() ([]byte, error) {
	if !c.Deleted {
		return json.Marshal(c.Sandbox)
	}
	return json.Marshal(gone{Name: c.Name, Deleted: true})
}

// UnmarshalJSON reads either form.
func (c *Change) UnmarshalJSON(b []byte) error {
	var g gone
	if err := json.Unmarshal(b, &g); err != nil {
		return err
	}
	*c = Change{Deleted: g.Deleted}
	return json.Unmarshal(b, &c.Sandbox)
}

type gone struct {
	Name    string `json:"name"`
	Deleted bool   `json:"deleted"`
}

// Description is everything that is known of one sandbox.
type Description struct {
	Sandbox
	// Spec is the accepted specification, defaults filled in; null where no
	// version was ever accepted or nothing is declared any more. It is whole,
	// with what files volumes hold and literal values. Of secrets it names the
	// files that they come from, and never holds what is in those.
	Spec *desired.Spec `json:"spec"`
	// Notes are of what is accepted and does not do what it says.
	Notes []string `json:"notes,omitempty"`
	// Pending is what the last look decided to do, and why.
	Pending []Action `json:"pending"`
	// NextTry is when the daemon looks again without being woken.
	NextTry *time.Time     `json:"nextTry"`
	Events  []events.Event `json:"events"` // oldest first, at most DescribeEvents
}

// DescribeEvents is how many of the latest events a Description carries.
const DescribeEvents = 20

// Action is one step that is due, or would be.
type Action struct {
	Sandbox   string `json:"sandbox"`
	Container string `json:"container"` // empty: the sandbox as a whole
	Action    string `json:"action"`
	Reason    string `json:"reason"`
	// Class is which class of fields a change falls in: in place, container or
	// sandbox; empty where no change caused the action.
	Class string `json:"class,omitempty"`
}

// PlanRequest asks what would be done if Paths were the manifests.
type PlanRequest struct {
	// Paths are absolute files or folders; none: those that the daemon watches.
	Paths []string `json:"paths"`
}

// KillRequest is a signal for a container: for its first process unless more
// is said.
type KillRequest struct {
	Signal string `json:"signal"`        // such as SIGTERM, TERM or 15
	All    bool   `json:"all,omitempty"` // to every process of the container
	// PID is one process, as numbered in the whole sandbox; Foreground: the
	// foreground group of the terminal that an exec gave it. With ContainerID,
	// it must be of that instance of the container.
	PID         int    `json:"pid,omitempty"`
	Foreground  bool   `json:"foreground,omitempty"`
	ContainerID string `json:"containerId,omitempty"`
}

// WindowChanged says that it tells a terminal's programs of another size.
func (k *KillRequest) WindowChanged() bool {
	n, err := desired.SignalNumber(k.Signal)
	return err == nil && n == unix.SIGWINCH
}

// PassedOn says whose signal it is: of a command that exec runs, or of a container
// that somebody is attached to. Else it is one that was asked for as such.
func (k *KillRequest) PassedOn() (exec, attach bool) {
	return k.ContainerID != "" && k.PID != 0, k.ContainerID != "" && k.PID == 0
}

// Process is one process of a container. Its numbers count in the whole
// sandbox; in the container it has others.
type Process struct {
	Container   string    `json:"container"`
	PID         int       `json:"pid"`
	PPID        int       `json:"ppid"` // 0: it was started from outside
	UID         uint32    `json:"uid"`
	Threads     int       `json:"threads"`
	CPUSeconds  float64   `json:"cpuSeconds"` // used up so far, by it alone
	MemoryBytes int64     `json:"memoryBytes"`
	StartedAt   time.Time `json:"startedAt"`
	Command     []string  `json:"command"` // cut where it is very long
}

// ProcessList is what GET /v1/sandboxes/NAME/processes answers.
type ProcessList struct {
	Items []Process `json:"items"` // by container in declared order, then by pid
}

// Stats is what a sandbox uses. Of CPU, memory and storage it is what the host
// counts for all processes of the sandbox, gVisor's own included.
type Stats struct {
	Sandbox string    `json:"sandbox"`
	Time    time.Time `json:"time"` // when it was read
	// CPUSeconds is the time used on all CPUs together since the sandbox was made.
	CPUSeconds  float64 `json:"cpuSeconds"`
	MemoryBytes int64   `json:"memoryBytes"` // in use now, page cache included
	// MemoryPeakBytes is the most that ever was in use; 0: the kernel does not say.
	MemoryPeakBytes  int64 `json:"memoryPeakBytes"`
	MemoryLimitBytes int64 `json:"memoryLimitBytes"` // of the whole sandbox; 0: none
	PIDs             int64 `json:"pids"`             // threads and processes on the host
	// ReadBytes came from storage and WrittenBytes go there, by the processes
	// that live and the children that they have waited for.
	ReadBytes    uint64           `json:"readBytes"`
	WrittenBytes uint64           `json:"writtenBytes"`
	Containers   []ContainerStats `json:"containers"` // those that run, in the order in which they start
}

// ContainerStats is what a container uses, as gVisor counts it.
type ContainerStats struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// CPUSeconds is what the processes that live have used, and the children
	// that they have waited for.
	CPUSeconds float64 `json:"cpuSeconds"`
	// MemoryBytes is what is the processes' own or in file systems in memory.
	MemoryBytes      int64 `json:"memoryBytes"`
	MemoryLimitBytes int64 `json:"memoryLimitBytes"` // its own; 0: none
	PIDs             int64 `json:"pids"`             // threads and processes, in the sandbox
	// StorageBytes is what is in its writable layer; StorageLimitBytes is how
	// much may be; 0: no limit.
	StorageBytes      int64 `json:"storageBytes"`
	StorageLimitBytes int64 `json:"storageLimitBytes"`
}

// Plan is what would be done. Problems are documents that would be rejected,
// as "file:line: path: message"; the actions leave them out.
type Plan struct {
	Actions  []Action `json:"actions"`
	Problems []string `json:"problems,omitempty"`
	// Notes are of what is not as declared, and left to its owner.
	Notes []string `json:"notes,omitempty"`
}

// ConfirmRequest names the sandboxes whose held deletions are to go ahead; none:
// all that are held.
type ConfirmRequest struct {
	Names []string `json:"names,omitempty"`
}

// Confirmation names the sandboxes whose held deletions go ahead.
type Confirmation struct {
	Confirmed []string `json:"confirmed"`
	// NotHeld are those of the request that no deletion is held of.
	NotHeld []string `json:"notHeld,omitempty"`
}

// Restarted is what was asked for: containers, or gofers, that began before
// that instant are being replaced.
type Restarted struct {
	Asked      time.Time `json:"asked"`
	Containers []string  `json:"containers"`
}

// EventList is what GET /v1/events answers.
type EventList struct {
	Items []events.Event `json:"items"`
}

// Version says which build answers.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"`
	Go      string `json:"go"`
	GVisor  string `json:"gvisor"`
}
