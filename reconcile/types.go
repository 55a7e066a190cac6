package reconcile

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
	// Signal asks one container to end, with its stop signal.
	Signal Verb = "signal"
	// Kill sends SIGKILL to every process of one container.
	Kill Verb = "kill"
	// Remove takes one container that has ended, or is declared no more, out
	// of the sandbox, record included.
	Remove Verb = "remove"
	// Pause and Resume freeze and thaw the whole sandbox.
	Pause  Verb = "pause"
	Resume Verb = "resume"
	// Stop ends every process of the sandbox at once and removes its cgroup;
	// records, logs and emptyDir volumes stay. Containers get their ends
	// recorded.
	Stop Verb = "stop"
	// Destroy leaves nothing: Stop, then record, logs, volumes, memory.
	Destroy Verb = "destroy"
	// SetOOMScore writes the declared scores where they differ.
	SetOOMScore Verb = "setOOMScore"
	// SetLimits writes the cgroup limits that are declared.
	SetLimits Verb = "setLimits"
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
	// Exit says what Start and Stop record of instances whose end nobody saw
	// (Reason SandboxLost, GoferLost); empty where there is none.
	ExitReason string
}

// Input is all that Plan looks at.
type Input struct {
	Now time.Time
	// Name is the sandbox's, present also when nothing is declared.
	Name string
	// Desired is nil when nothing is declared any more.
	Desired *desired.Sandbox
	// Held says that the absence of Desired must not be acted upon
	// (deletion guard, unreadable directory, settling).
	Held bool
	// Blind says that the look failed; Observed is then meaningless.
	Blind    bool
	Observed observed.Sandbox
	Memory   Memory
}

// Result is all that Plan decides.
type Result struct {
	// Actions are free of each other and may run side by side. At most one
	// per container; empty when the world is as declared.
	Actions []Action
	Memory  Memory
	// Again is when to look again without being poked; zero: no need.
	Again time.Time
	// Conditions that hold now, sorted by type.
	Conditions []Condition
}

// Condition is a state of affairs that a user may wait for or act upon.
type Condition struct {
	Type    string // OOMScoreDenied, Unsupported, RuntimeUnreachable, …
	Reason  string // one CamelCase word
	Message string
}

// Memory is what the loop remembers of one sandbox from pass to pass. It is
// stored, so that neither a restart of the daemon nor a reboot forgets it.
type Memory struct {
	Containers map[string]ContainerMemory `json:"containers,omitempty"`
	// CreateFailures counts creations that failed in a row; NextCreate is when
	// the next may be tried. LastError is what the last failure said.
	CreateFailures int       `json:"createFailures,omitempty"`
	NextCreate     time.Time `json:"nextCreate,omitzero"`
	LastError      string    `json:"lastError,omitempty"`
	// SpecHash is the desired.Sandbox.Hash that the failures belong to: a
	// changed spec pre-empts back-off.
	SpecHash string `json:"specHash,omitempty"`
	// UnresponsiveSince is when the sentry was first found silent.
	UnresponsiveSince time.Time `json:"unresponsiveSince,omitzero"`
	// ScoreDenied is what the kernel said of the last score that it refused.
	ScoreDenied string `json:"scoreDenied,omitempty"`
	// ScoreDeniedFor is the declared score that was refused.
	ScoreDeniedFor string `json:"scoreDeniedFor,omitempty"`
}

// ContainerMemory is what is remembered of one container by name.
type ContainerMemory struct {
	// Hash is the desired.Container.Hash that the counters belong to.
	Hash string `json:"hash,omitempty"`
	// Restarts counts the starts that followed an end under the same sandbox
	// document (status: restartCount).
	Restarts int `json:"restarts,omitempty"`
	// Attempts counts ends in a row without a run of ResetAfter between them.
	Attempts int `json:"attempts,omitempty"`
	// Seen is the ID of the last instance whose end was counted.
	Seen string `json:"seen,omitempty"`
	// Exit is how the last instance ended; kept over the loss of its record.
	Exit *observed.Exit `json:"exit,omitempty"`
	// StartedAt is when the last instance that ended had started.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// NextStart is when the next start is due; zero: at once, or never.
	NextStart time.Time `json:"nextStart,omitzero"`
	// StopAsked is when the running instance was sent its stop signal.
	StopAsked time.Time `json:"stopAsked,omitzero"`
	// StopID is the instance that StopAsked belongs to.
	StopID string `json:"stopID,omitempty"`
}
