package desired

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
)

// The envelope that every document carries.
const (
	APIVersion = "sandboxer/v1"
	Kind       = "Sandbox"
)

// State is the declared state of a sandbox.
type State string

// The states that a manifest can declare.
const (
	Running   State = "Running"
	Paused    State = "Paused"
	Stopped   State = "Stopped"
	Suspended State = "Suspended"
	Created   State = "Created"
)

// Runs reports whether the state has commands running, or frozen or on disk while
// they run.
func (s State) Runs() bool { return s == Running || s == Paused || s == Suspended }

// RestartPolicy says which ends of a container are followed by a new start.
type RestartPolicy string

// The restart policies, with the meaning they have in a Kubernetes Pod.
const (
	Always    RestartPolicy = "Always"
	OnFailure RestartPolicy = "OnFailure"
	Never     RestartPolicy = "Never"
)

// Network modes. CNI networks are not supported yet.
const (
	NetworkNone = "none"
	NetworkHost = "host"
)

// RuntimeGVisor is the built-in runtime and the default.
const RuntimeGVisor = "gvisor"

// Sandbox is one accepted document with all defaults filled in.
type Sandbox struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	// Source is the file that declares it, relative to its manifest
	// directory where there is one directory, else as given.
	Source string `json:"source"`
	Spec   Spec   `json:"spec"`
}

// Spec is the part of a document that a user writes below "spec".
type Spec struct {
	State    State  `json:"state,omitempty"`
	Runtime  string `json:"runtime,omitempty" jsonschema:"enum=gvisor"`
	Hostname string `json:"hostname,omitempty"`
	// DependsOn names the sandboxes that have to be ready before this one is
	// started. No chain of them leads back to it.
	DependsOn      []string       `json:"dependsOn,omitempty"`
	RestartPolicy  RestartPolicy  `json:"restartPolicy,omitempty"`
	RestartBackoff RestartBackoff `json:"restartBackoff,omitzero"`
	// TerminationGracePeriodSeconds is how long a container may take to end
	// after its stop signal, 0 (killed at once) and up; default 30.
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty" jsonschema:"minimum=0"`
	// RestoreFrom is the directory of a checkpoint (sandboxer checkpoint) that
	// the sandbox is restored from whenever it is made; empty: it is made anew.
	RestoreFrom string   `json:"restoreFrom,omitempty"`
	Network     Network  `json:"network,omitzero"`
	Volumes     []Volume `json:"volumes,omitempty"`
	// InitContainers run one after the other, each to success, before any of
	// Containers is started. They have no restart policy or life cycle of their
	// own.
	InitContainers []Container `json:"initContainers,omitempty"`
	Containers     []Container `json:"containers" jsonschema:"minItems=1"`
}

// RestartBackoff bounds the waits between restarts: none before the first,
// then Initial doubling to Max, and from the start again after a run of
// ResetAfter.
type RestartBackoff struct {
	Initial    Duration `json:"initial,omitempty"`
	Max        Duration `json:"max,omitempty"`
	ResetAfter Duration `json:"resetAfter,omitempty"`
}

// Network says what a sandbox sees of the network.
type Network struct {
	Mode string `json:"mode,omitempty" jsonschema:"enum=none,enum=host"`
}

// Volume is a named source of files; exactly one of its sources is set.
type Volume struct {
	Name     string            `json:"name"`
	HostPath *HostPath         `json:"hostPath,omitempty"`
	EmptyDir *EmptyDir         `json:"emptyDir,omitempty"`
	Files    map[string]string `json:"files,omitempty"`
}

// HostPath is a file or directory of the host. Type is one of the Pod's:
// "" (no check), Directory, DirectoryOrCreate, File, FileOrCreate. With Sockets
// the host's unix sockets in it can be connected to, and others bound there.
type HostPath struct {
	Path    string `json:"path"`
	Type    string `json:"type,omitempty" jsonschema:"enum=,enum=Directory,enum=DirectoryOrCreate,enum=File,enum=FileOrCreate"`
	Sockets bool   `json:"sockets,omitempty"`
}

// EmptyDir is a directory that lives as long as its sandbox is declared. With
// a SizeLimit it is held in memory and writes beyond it fail with ENOSPC.
type EmptyDir struct {
	SizeLimit *resource.Quantity `json:"sizeLimit,omitempty"`
}

// Container is one process tree with a file system of its own. Exactly one of
// Rootfs and Bundle is set.
type Container struct {
	Name          string        `json:"name"`
	Rootfs        *Rootfs       `json:"rootfs,omitempty"`
	Bundle        string        `json:"bundle,omitempty"`
	Command       []string      `json:"command,omitempty"`
	Args          []string      `json:"args,omitempty"`
	WorkingDir    string        `json:"workingDir,omitempty"`
	Env           []EnvVar      `json:"env,omitempty"`
	Resources     Resources     `json:"resources,omitzero"`
	OOMScoreAdj   *int          `json:"oomScoreAdj,omitempty" jsonschema:"minimum=-1000,maximum=1000"` // -1000..1000; nil is not 0
	VolumeMounts  []VolumeMount `json:"volumeMounts,omitempty"`
	RestartPolicy RestartPolicy `json:"restartPolicy,omitempty"` // after defaults: never empty
	// A liveness probe that fails has the container restarted; a readiness probe
	// says whether it is ready; until a startup probe has succeeded once there
	// are no others.
	LivenessProbe  *Probe `json:"livenessProbe,omitempty"`
	ReadinessProbe *Probe `json:"readinessProbe,omitempty"`
	StartupProbe   *Probe `json:"startupProbe,omitempty"`
	// Stdin keeps the command's stdin open for who attaches; else it is empty.
	Stdin bool `json:"stdin,omitempty"`
	// Terminal gives the command a terminal, whose output is its log's stdout.
	Terminal bool `json:"terminal,omitempty"`
	// ConsoleSocket is a unix socket of the host that gets the terminal instead.
	ConsoleSocket string `json:"consoleSocket,omitempty"`
	// PIDFile is a file of the host that holds the sentry's pid while the
	// container is there.
	PIDFile string `json:"pidFile,omitempty"`
	// UserLog is a file of the host to which the runtime writes what an
	// application asks for that it does not have; one per sandbox.
	UserLog string `json:"userLog,omitempty"`
	// StopSignal is the canonical name ("SIGTERM") of the signal that asks the
	// container to end; manifests say it as lifecycle.stopSignal.
	Lifecycle       Lifecycle       `json:"lifecycle,omitzero"`
	SecurityContext SecurityContext `json:"securityContext,omitzero"`
	Hooks           Hooks           `json:"hooks,omitzero"`
}

// Rootfs is a directory that serves as a container's root. It is never
// written to.
type Rootfs struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// EnvVar is one variable of the environment; Value or ValueFrom.
type EnvVar struct {
	Name      string     `json:"name"`
	Value     string     `json:"value,omitempty"`
	ValueFrom *EnvSource `json:"valueFrom,omitempty"`
}

// EnvSource reads a value when the container is made; one trailing newline of
// the file is dropped. What it reads never shows in a status.
type EnvSource struct {
	File string `json:"file"`
}

// Resources bounds what a container may use.
type Resources struct {
	Limits Limits `json:"limits,omitzero"`
}

// MemoryLimit is what a container is limited to, in bytes; 0: no limit.
func (c *Container) MemoryLimit() int64 {
	if q := c.Resources.Limits.Memory; q != nil {
		return q.Value()
	}
	return 0
}

// Limits are upper bounds; nil means unlimited.
type Limits struct {
	CPU    *resource.Quantity `json:"cpu,omitempty"`    // cores, at least 1m
	Memory *resource.Quantity `json:"memory,omitempty"` // bytes, at least 4Mi
	// Pids is how many threads, of all processes together, there may be; nil
	// bounds processes only: see manifest.md.
	Pids *int64 `json:"pids,omitempty"`
	// EphemeralStorage is how many bytes the writable layer may take.
	EphemeralStorage *resource.Quantity `json:"ephemeral-storage,omitempty"`
}

// VolumeMount puts a volume at a path of the container.
type VolumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
}

// Writes says whether a container of the sandbox mounts a volume to write to it.
func (s *Sandbox) Writes(volume string) bool {
	return slices.ContainsFunc(slices.Concat(s.Spec.InitContainers, s.Spec.Containers), func(c Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m VolumeMount) bool { return m.Name == volume && !m.ReadOnly })
	})
}

// Written names the volumes that a container of the sandbox writes; it is not
// nil.
func (s *Sandbox) Written() []string {
	names := []string{}
	for i := range s.Spec.Volumes {
		if v := &s.Spec.Volumes[i]; v.Files == nil && s.Writes(v.Name) {
			names = append(names, v.Name)
		}
	}
	return names
}

// Lifecycle holds what happens around a container's end.
type Lifecycle struct {
	PreStop    *PreStop `json:"preStop,omitempty"`
	StopSignal string   `json:"stopSignal,omitempty"`
}

// SecurityContext is what a container's processes may do. A nil field keeps
// the root file system's or bundle's default (root, the default capabilities).
type SecurityContext struct {
	RunAsUser              *int64       `json:"runAsUser,omitempty"`
	RunAsGroup             *int64       `json:"runAsGroup,omitempty"`
	ReadOnlyRootFilesystem *bool        `json:"readOnlyRootFilesystem,omitempty"`
	NoNewPrivileges        *bool        `json:"noNewPrivileges,omitempty"`
	Capabilities           Capabilities `json:"capabilities,omitzero"`
}

// Capabilities are names without the CAP_ prefix, or ALL.
type Capabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop,omitempty"`
}
