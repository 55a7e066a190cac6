package observed

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"sandboxer/internal/sealed"
)

// RecordVersion is the format that this build writes and reads.
const RecordVersion = 1

// ContainerState is a container's state in OCI's words.
type ContainerState string

// The states of a container.
const (
	Creating ContainerState = "creating"
	Created  ContainerState = "created"
	Running  ContainerState = "running"
	Paused   ContainerState = "paused"
	Stopped  ContainerState = "stopped"
)

// SandboxState is what a sandbox's record says was last done to it. The two
// transitional states are written before the runtime is asked, so that a
// crash between the two leaves a trace.
type SandboxState string

// The states of a sandbox's record.
const (
	SandboxCreating SandboxState = "creating" // written before a process exists
	SandboxUp       SandboxState = "up"       // the sentry answers; containers may be started
	SandboxPausing  SandboxState = "pausing"
	SandboxPaused   SandboxState = "paused"
	SandboxResuming SandboxState = "resuming"
	// SandboxSaving: frozen, or about to be, for a checkpoint of what ran.
	SandboxSaving SandboxState = "saving"
	// SandboxRestoring: the sentry lives and is given a checkpoint's containers.
	SandboxRestoring SandboxState = "restoring"
	SandboxStopping  SandboxState = "stopping"
	SandboxStopped   SandboxState = "stopped" // no process is left; the record stays
)

// Process identifies a process for good: a pid alone is reused.
type Process struct {
	PID int `json:"pid"`
	// StartTime is field 22 of /proc/PID/stat: clock ticks since boot.
	StartTime uint64 `json:"startTime"`
}

// Exit says how a container's command ended.
type Exit struct {
	// Known is false where nobody can tell any more: the sandbox died with it.
	Known  bool      `json:"known"`
	Code   int       `json:"code"`             // 0..255; 128+Signal after a signal
	Signal int       `json:"signal,omitempty"` // 0: none
	At     time.Time `json:"at"`
	// Reason is one of the Reasons below.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// The reasons of ends.
const (
	ReasonCompleted   = "Completed"   // with exit code 0
	ReasonError       = "Error"       // any other that nothing below explains
	ReasonStopped     = "Stopped"     // asked for by what is declared, or by a restart
	ReasonKilled      = "Killed"      // asked for by a user, with a signal
	ReasonStartError  = "StartError"  // its command could not be started
	ReasonOOMKilled   = "OOMKilled"   // it, or its sandbox, had no memory left
	ReasonUnhealthy   = "Unhealthy"   // stopped for a probe's sake
	ReasonGoferLost   = "GoferLost"   // nobody could open files for it any more
	ReasonSandboxLost = "SandboxLost" // it went with its sandbox, and nobody saw how
	ReasonDiscarded   = "Discarded"   // it was on disk, and that was removed
)

// Clauses that say who asked for an end.
const (
	AsAsked     = "as it was asked to"
	AsUserAsked = "as a user asked"
)

// Wanted is an end that was asked for: unless something else is to blame, it is no
// error, whatever its code. why is a clause.
func (e Exit) Wanted(reason, why string) Exit {
	if !e.Known || e.Reason != ReasonError {
		return e
	}
	e.Reason, e.Message = reason, cmp.Or(e.Message, "ended")+", "+why
	return e
}

// Record is what is stored of a sandbox. It is written by the actuator only.
type Record struct {
	Version int    `json:"version"`
	BootID  string `json:"bootID"`
	// Generation tells a later record from an earlier one.
	Generation uint64       `json:"generation,omitempty"`
	Name       string       `json:"name"`
	Runtime    string       `json:"runtime"`
	State      SandboxState `json:"state"`
	// SandboxHash is the desired.Sandbox.SandboxHash that it was made from.
	SandboxHash string `json:"sandboxHash"`
	// Fields are the desired.Sandbox.Fields that belong to it.
	Fields map[string]string `json:"fields,omitempty"`
	// Written names the volumes that can be written in it; nil: nobody knows.
	Written []string `json:"written"`
	// LimitsHash identifies the cgroup limits that are in force.
	LimitsHash string `json:"limitsHash"`
	// Cgroup is the path below each hierarchy's mount point.
	Cgroup              string    `json:"cgroup"`
	ControlSocket       string    `json:"controlSocket"`
	Sentry              Process   `json:"sentry"`
	OriginalOOMScoreAdj int       `json:"originalOOMScoreAdj"`
	CreatedAt           time.Time `json:"createdAt"`
	// GVisor is the version that its sentry is of; empty: nobody knows.
	GVisor string `json:"gvisor,omitempty"`
	// Restored says that it was not made anew but from a checkpoint.
	Restored bool `json:"restored,omitempty"`
	// UserLog is the file that its sentry writes what applications ask for in vain
	// to; nil: there is none, or nobody knows.
	UserLog *Object `json:"userLog,omitempty"`
	// HostNetwork says that its network is the host's.
	HostNetwork bool `json:"hostNetwork,omitempty"`
}

// raw is it with names of any bytes.
func (r *Record) raw() any {
	type plain Record
	return &struct {
		*plain
		Cgroup        *sealed.Text `json:"cgroup"`
		ControlSocket *sealed.Text `json:"controlSocket"`
	}{(*plain)(r), (*sealed.Text)(&r.Cgroup), (*sealed.Text)(&r.ControlSocket)}
}

// MarshalJSON implements json.Marshaler.
func (r Record) MarshalJSON() ([]byte, error) { return json.Marshal(r.raw()) }

// UnmarshalJSON implements json.Unmarshaler.
func (r *Record) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, r.raw()) }

// ContainerRecord is what is stored of one container instance; a container
// that is made anew gets a new ID and overwrites its record.
type ContainerRecord struct {
	Version    int    `json:"version"`
	BootID     string `json:"bootID"`
	Generation uint64 `json:"generation,omitempty"` // as a Record's
	Sandbox    string `json:"sandbox"`
	Name       string `json:"name"`
	ID         string `json:"id"` // SANDBOX.NAME.ATTEMPT
	Attempt    int    `json:"attempt"`
	Hash       string `json:"hash"` // desired.Container.Hash
	// Fields are the desired.Container.Fields that belong to it.
	Fields map[string]string `json:"fields,omitempty"`
	State  ContainerState    `json:"state"`
	Gofer  Process           `json:"gofer"`
	// GoferSince is when that gofer began to serve, GoferVersion the version of
	// the daemon that started it.
	GoferSince   time.Time `json:"goferSince,omitzero"`
	GoferVersion string    `json:"goferVersion,omitempty"`
	// SharesShm says that its /dev/shm is the sandbox's.
	SharesShm bool `json:"sharesShm,omitempty"`
	// GoferRestarts counts the gofers that took over from one that died, in
	// all instances; GoferFailures those of them in a row that died soon.
	GoferRestarts int `json:"goferRestarts,omitempty"`
	GoferFailures int `json:"goferFailures,omitempty"`
	// GoferState is what the actuator needs to replace the gofer.
	GoferState json.RawMessage `json:"goferState,omitempty"`
	// Keeper holds, beside the daemon, what that needs.
	Keeper Process `json:"keeper"`
	// Process is what further commands in the container get of what its own
	// got: user, environment and the like.
	Process json.RawMessage `json:"process,omitempty"`
	// Hooks are the desired.Hooks that the instance was made with, as JSON, and
	// HooksDone counts those of HookPhase that are not to be run again.
	Hooks     json.RawMessage `json:"hooks,omitempty"`
	HookPhase HookPhase       `json:"hookPhase,omitempty"`
	HooksDone int             `json:"hooksDone,omitempty"`
	// HooksSeal proves to the actuator that the hooks were declared.
	HooksSeal string `json:"hooksSeal,omitempty"`
	// Objects are what it was given of the host, Contents what it was made from
	// that was read there.
	Objects  []Object  `json:"objects,omitempty"`
	Contents []Content `json:"contents,omitempty"`
	// Terminal says that the command has a terminal whose master the daemon and
	// the keeper hold, Stdin that it reads what who attaches writes.
	Terminal bool `json:"terminal,omitempty"`
	Stdin    bool `json:"stdin,omitempty"`
	// PIDFile is the file that was given the sentry's pid; zero: there is none.
	PIDFile PIDFile `json:"pidFile,omitzero"`
	// StartedAt is zero until the command runs.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// Sent are the signals that users have sent it while it ran.
	Sent []int `json:"sent,omitempty"`
	Exit *Exit `json:"exit,omitempty"`
}

// Object is a file or directory of the host, and what it was.
type Object struct {
	What   string `json:"what"` // for messages: "the root directory"
	Path   string `json:"path"` // as it is declared
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// Content is a file of the host, and what identifies what was in it: by who reads
// it, and nobody else, as that may be a secret.
type Content struct {
	What   string `json:"what"`
	Path   string `json:"path"`
	Digest string `json:"digest"`
}

// Server names the record of a gofer that serves volumes, which all containers
// of a sandbox share, and of its keeper. It is no container's name: those are
// DNS labels.
func Server(n int) string { return serverPrefix + strconv.Itoa(n) }

const serverPrefix = "_volumes."

// IsServer says whether a record is of such a gofer.
func (c *ContainerRecord) IsServer() bool { return strings.HasPrefix(c.Name, serverPrefix) }

// InstanceOf is whose instance in a sandbox an ID is of: a container's, or a gofer's
// of volumes, of which attempt is 0. ok is false where it is of neither.
func InstanceOf(sandbox, id string) (name string, attempt int, ok bool) {
	name, ok = strings.CutPrefix(id, sandbox+".")
	if ok && !strings.HasPrefix(name, serverPrefix) {
		var number string
		if at := strings.LastIndexByte(name, '.'); at >= 0 {
			name, number = name[:at], name[at+1:]
		}
		var err error
		attempt, err = strconv.Atoi(number)
		ok = err == nil
	}
	return name, attempt, ok && CheckName(name) == nil
}

// HookPhase says how far the hooks of an instance are that the daemon runs for
// it on the host.
type HookPhase string

// The phases; none: there is nothing to be done.
const (
	// HooksCreating: prestart and createRuntime hooks run, the command waits.
	HooksCreating HookPhase = "creating"
	// HooksCreated: they have succeeded, the command is to be started.
	HooksCreated HookPhase = "created"
	// HooksStarted: the command was started, and poststart hooks run beside it.
	HooksStarted HookPhase = "started"
	// HooksOwed: once the instance has ended and is taken out of the sandbox,
	// its poststop hooks are to be run.
	HooksOwed HookPhase = "owed"
	// HooksStopping: they run.
	HooksStopping HookPhase = "stopping"
)

// PIDFile is a file of the host and what it holds.
type PIDFile struct {
	Path string `json:"path"`
	PID  int    `json:"pid"`
	// Seal proves to the actuator that it wrote the file.
	Seal string `json:"seal,omitempty"`
}

// Image is a sandbox on disk: a checkpoint of its processes, and what they
// need to run again.
type Image struct {
	// Unusable says why nothing can be restored from it; empty: it can be tried.
	Unusable string `json:"-"`
	// Sandbox is the name of the sandbox that it was made of.
	Sandbox   string    `json:"sandbox"`
	CreatedAt time.Time `json:"createdAt"`
	// Spec is the desired.Spec that was declared then, as JSON.
	Spec json.RawMessage `json:"spec"`
	// Containers are as they were, without what belongs to their gofers. Those
	// with an exit have no process in the checkpoint.
	Containers []ContainerRecord `json:"containers"`
	// Shares are the volumes that its containers share.
	Shares []ImageShare `json:"shares,omitempty"`
}

// ImageShare is a volume that the containers in a checkpoint share.
type ImageShare struct {
	// Key is by what they know it, Volume its name in the specification.
	Key      string `json:"key"`
	Volume   string `json:"volume"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Liveness is what is known of a recorded process.
type Liveness int

// A process that is recorded is alive, gone or silent; None: nothing is
// recorded.
const (
	None Liveness = iota
	Alive
	Gone   // ended, a zombie, or its pid now belongs to another process
	Silent // a gofer that lives and has answered nobody for a while
)

// Lives says whether there is a process.
func (l Liveness) Lives() bool { return l == Alive || l == Silent }

// PreStop is what is known of what a container is to do before it is stopped.
type PreStop int

// It was not begun, as far as anybody knows that lives; or it goes on, or
// is over, however it ended.
const (
	PreStopNone PreStop = iota
	PreStopRuns
	PreStopOver
)

// Container is one container as it was found.
type Container struct {
	ContainerRecord
	// State overrides the record's where the sandbox says more: paused while
	// it is frozen, stopped where its sandbox is gone.
	State ContainerState
	// GoferRun is Gone only where the gofer ended before its container did.
	GoferRun Liveness
	// KeeperRun is None where the container needs no keeper any more.
	KeeperRun Liveness
	// PreStop is what it does before it is sent its stop signal.
	PreStop PreStop
	// Replaced says of what the instance was made from, as it runs, what is
	// another one on the host by now.
	Replaced []string
}

// Score is the OOM score adjustment of one live process of a sandbox.
type Score struct {
	PID int
	// Container is the name of the container whose gofer or keeper it is; empty
	// for the sentry and every process below it.
	Container string
	Value     int
}

// Memory is what is known of a sandbox's memory, in bytes.
type Memory struct {
	// UsageBytes is what its cgroup uses, page cache included; PeakBytes the
	// most that it ever used, 0: the kernel does not say; LimitBytes the most
	// that it may, 0: there is no limit.
	UsageBytes, PeakBytes, LimitBytes int64
	// Kills counts the processes that the kernel has killed in it for memory
	// since it was made; KilledPID was the last one's pid, 0 where nobody knows.
	Kills     uint64
	KilledPID int
	// Containers is what containers used, by ID, when the runtime was asked
	// last, and ContainersAt what the cgroup used then. Nil: it was not asked
	// yet, or did not answer.
	Containers   map[string]int64
	ContainersAt int64
}

// Sandbox is everything that one look found of one sandbox.
type Sandbox struct {
	Name string
	// Record is nil where there is none; Broken then says why a file that is
	// there can't be used (torn, foreign, of another boot or format).
	Record *Record
	Broken string
	// Image is the checkpoint that it was suspended into; nil: it has none. As
	// long as there is one nothing has run since it was made, unless the record
	// says that it is being restored.
	Image  *Image
	Sentry Liveness
	// UserLogMoved says that the record's UserLog is not what its path leads to.
	UserLogMoved bool
	// Unresponsive is true when the sentry lives but did not answer within
	// the prober's deadline; Containers then show the last recorded states.
	Unresponsive bool
	// Stall is what may keep an unresponsive sentry from answering.
	Stall Stall
	// ProbeError says what the prober's failure was; empty where it answered
	// or was not asked.
	ProbeError string
	// Containers are sorted by name. A container whose record is broken is
	// listed in BrokenContainers (name → why) instead.
	Containers       []Container
	BrokenContainers map[string]string
	// Servers are the gofers of volumes, running for as long as the sentry does;
	// of one whose record can't be used neither gofer nor keeper is known.
	Servers []Container
	// Damaged says of each record in whose place its copy is believed, by path
	// in the sandbox's directory, what is wrong with it.
	Damaged map[string]string
	// CgroupProcs counts the processes in its cgroup; CgroupExists tells an
	// empty cgroup from none.
	CgroupExists bool
	CgroupProcs  int
	Scores       []Score
	Memory       Memory
}
