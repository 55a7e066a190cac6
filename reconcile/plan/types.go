package plan

import (
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// Verb names what an action does.
type Verb string

// The verbs, each idempotent and carried out by the actuator.
const (
	// Create makes record, cgroup and sentry with its infra container;
	// nothing of the user's runs after it.
	Create Verb = "create"
	// Start makes one container (anew, where an earlier instance is still
	// known) inside the running sandbox and runs its command.
	Start Verb = "start"
	// PreStop begins what one container is to do before it gets its stop signal.
	PreStop Verb = "preStop"
	// Signal asks one container to end, with its stop signal.
	Signal Verb = "signal"
	// ReplaceGofer starts a gofer that takes over from a container's dead one;
	// the container notices nothing. ErrGoferLost where that can't be done.
	ReplaceGofer Verb = "replaceGofer"
	// Keep starts a process that holds, beside the daemon, what the
	// replacement of a container's gofer needs.
	Keep Verb = "keep"
	// Kill sends SIGKILL to every process of one container.
	Kill Verb = "kill"
	// Remove takes one container that has ended, or is declared no more, out
	// of the sandbox, record included.
	Remove Verb = "remove"
	// Release takes an instance that has ended, or was never started, out of the
	// sandbox and has its poststop hooks run; its record stays.
	Release Verb = "release"
	// Pause and Resume freeze and thaw the whole sandbox.
	Pause  Verb = "pause"
	Resume Verb = "resume"
	// Suspend writes a checkpoint of the sandbox and leaves it frozen; where that
	// fails the sandbox goes on as it was.
	Suspend Verb = "suspend"
	// Restore makes the sandbox from its checkpoint, or from the one that
	// restoreFrom names, with all containers as they were. Its own checkpoint
	// is removed then.
	Restore Verb = "restore"
	// Discard removes the sandbox's checkpoint. Where nothing else is left of
	// the processes in it, their ends are recorded as Discarded.
	Discard Verb = "discard"
	// Stop ends every process of the sandbox at once and removes its cgroup;
	// records, logs and emptyDir volumes stay. Containers get their ends
	// recorded, unless a checkpoint says how to go on with them.
	Stop Verb = "stop"
	// Mend replaces damaged records of the sandbox by their copies. Where the
	// sandbox's own has none and its sentry lives, it is made from what the kernel
	// and the sentry tell.
	Mend Verb = "mend"
	// Destroy leaves nothing: Stop, then record, logs, volumes, memory.
	Destroy Verb = "destroy"
	// SetOOMScore writes the declared scores where they differ.
	SetOOMScore Verb = "setOOMScore"
	// SetLimits writes the cgroup limits that are declared.
	SetLimits Verb = "setLimits"
	// ReopenUserLog has the sandbox write its userLog to what the path leads to
	// now, which is made where there is nothing.
	ReopenUserLog Verb = "reopenUserLog"
)

// Action is one step for one sandbox, or one container of it.
type Action struct {
	Verb      Verb
	Sandbox   string
	Container string // name; empty: the sandbox
	// Reason is a sentence a user understands: why now.
	Reason string
	// Class is the manifest page's class of the change that caused it
	// ("in place", "container", "sandbox"); empty where no change did.
	Class string
	// Sentry and ContainerID are whom the action expects to meet; the actuator
	// refuses with ErrChanged where it meets another. Zero: nobody.
	Sentry      observed.Process
	ContainerID string
	// Replaced is the gofer that ReplaceGofer, or the keeper that Keep, expects
	// to be on record.
	Replaced observed.Process
	// Signal is the canonical name of the signal that a Signal action sends;
	// empty for every other verb.
	Signal string
	// InitDone is how many init containers have succeeded: SetOOMScore counts
	// them no more.
	InitDone int
	// PreStop is what a PreStop action begins, until Until at the latest; nil for
	// every other verb.
	PreStop *desired.PreStop
	Until   time.Time
	// ExitReason says what Start, Kill and Stop record of instances whose end
	// nobody saw (SandboxLost, GoferLost, OOMKilled), and ExitMessage says more;
	// empty where there is none.
	ExitReason, ExitMessage string
}

// Input is all that Decide looks at.
type Input struct {
	Now time.Time
	// Name is the sandbox's, present also when nothing is declared.
	Name string
	// Desired is nil when nothing is declared any more.
	Desired *Declared
	// Held says that the absence of Desired must not be acted upon
	// (deletion guard, unreadable directory, settling). Where Desired is
	// present, it is the last accepted version and holds as ever.
	Held bool
	// Blind says that the look failed; Observed is then meaningless.
	Blind    bool
	Observed observed.Sandbox
	Memory   Memory
	// Dependencies are those of Desired's that are declared, by name.
	Dependencies map[string]Dependency
	// GVisor is the version that new sandboxes are of, and the only one whose
	// checkpoints can be restored; empty: nobody knows.
	GVisor string
	// Blocked says of each of Successors why it could not be started now; what
	// could is not in it.
	Blocked map[string]string
}

// Result is all that Decide decides.
type Result struct {
	// Actions are free of each other and may run side by side. At most one
	// per container; empty when the world is as declared.
	Actions []Action
	Memory  Memory
	// Again is when to look again without being poked; zero: no need.
	Again time.Time
	// MemoryMark is how many bytes of memory the sandbox's cgroup has to use to
	// be worth a look without being poked; 0: no amount is.
	MemoryMark int64
	// Conditions that hold now, sorted by type.
	Conditions []Condition
	// Notices are what has happened by itself and was not told of before.
	Notices []Notice
}

// Notice is something for a sandbox's events.
type Notice struct {
	Container string // empty: the sandbox
	Reason    string // one CamelCase word
	Message   string
}
