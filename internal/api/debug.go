package api

import "time"

// DebugState is how the daemon itself stands, for who looks for a fault in it. What
// is in it may be otherwise in any version.
type DebugState struct {
	Time      time.Time `json:"time"`
	StartedAt time.Time `json:"startedAt"`
	PID       int       `json:"pid"`
	Version   Version   `json:"version"`
	// NotReady says what the daemon has yet to do before it answers others.
	NotReady  string         `json:"notReady,omitempty"`
	Settings  DebugSettings  `json:"settings"`
	Counts    DebugCounts    `json:"counts"`
	Loop      DebugLoop      `json:"loop"`
	Sandboxes []DebugSandbox `json:"sandboxes"` // sorted by name
	// Background is what goes on beside the loop.
	Background []DebugWork `json:"background"`
	// Mounts are the lines of the kernel's table, as the daemon sees it, of the
	// root and of what is in the daemon's directories or holds cgroups.
	Mounts []string `json:"mounts"`
	// Parts that did not answer: nothing is told of them.
	Missing []string `json:"missing,omitempty"`
}

// DebugSettings are those that are in force.
type DebugSettings struct {
	Manifests              []string     `json:"manifests"`
	StateDir               string       `json:"stateDir"`
	DataDir                string       `json:"dataDir"`
	Socket                 string       `json:"socket"`
	CgroupParent           string       `json:"cgroupParent"`
	ConfigFile             string       `json:"configFile"`
	Cgroups                int          `json:"cgroups"` // 1: v1 or hybrid; 2
	ResyncSeconds          float64      `json:"resyncSeconds"`
	SettleSeconds          float64      `json:"settleSeconds"`
	DeletionGuard          float64      `json:"deletionGuard"`
	LogMaxBytes            int64        `json:"logMaxBytes"`
	LogMaxFiles            int          `json:"logMaxFiles"`
	Access                 []DebugGrant `json:"access"`
	ResyncOnly             bool         `json:"resyncOnly"`
	AllowUnsafeManifests   bool         `json:"allowUnsafeManifests"`
	AllowKernelFileSystems bool         `json:"allowKernelFileSystems"`
	AllowBundleHooks       bool         `json:"allowBundleHooks"`
	StopSandboxesOnExit    bool         `json:"stopSandboxesOnExit"`
	Foreground             bool         `json:"foreground"` // it is "sandboxer run"
	DebugLog               bool         `json:"debugLog"`
}

// DebugGrant is what the members of a group may do.
type DebugGrant struct {
	GID   uint32 `json:"gid"`
	Level string `json:"level"`
}

// DebugCounts are numbers that grow where something is not given back.
type DebugCounts struct {
	Goroutines     int    `json:"goroutines"`
	Threads        int    `json:"threads"`
	OpenFiles      int    `json:"openFiles"`
	OpenFilesLimit uint64 `json:"openFilesLimit"`
	HeapBytes      uint64 `json:"heapBytes"` // in use
	SystemBytes    uint64 `json:"systemBytes"`
	// Of sentries, gofers and keepers these lived at the latest looks.
	Sentries       int    `json:"sentries"`
	Gofers         int    `json:"gofers"`
	Keepers        int    `json:"keepers"`
	ProcessWatches int    `json:"processWatches"` // processes whose end is told
	MemoryWatches  int    `json:"memoryWatches"`  // cgroups whose memory is watched
	EndWaits       int    `json:"endWaits"`       // containers whose end the sentry is asked for
	GoferSockets   int    `json:"goferSockets"`   // gofers whose sockets are held
	Terminals      int    `json:"terminals"`      // containers whose terminal is held
	EventsDropped  uint64 `json:"eventsDropped"`  // that the disk refused
}

// DebugLoop is the loop that works on sandboxes.
type DebugLoop struct {
	Workers int `json:"workers"`
	Working int `json:"working"` // passes under way that have a worker's place
	Passing int `json:"passing"` // passes under way
	// Queue are the sandboxes that wait for a place, in order.
	Queue []string `json:"queue"`
}

// DebugSandbox is the work on one sandbox.
type DebugSandbox struct {
	Name string `json:"name"`
	// Phase is what its worker does since then: beginning, looking, deciding,
	// storing, publishing, acting; exclusive: a request has the sandbox to itself;
	// empty: nobody works on it.
	Phase   string      `json:"phase"`
	Since   *time.Time  `json:"since"`
	Actions []DebugWork `json:"actions,omitempty"` // under way
	Queued  bool        `json:"queued"`
	Again   bool        `json:"again"` // it is worked on once more after this
	// NextTry is when it is worked on without being woken; null: at the resync.
	NextTry     *time.Time   `json:"nextTry"`
	Passes      uint64       `json:"passes"` // so far
	LastPass    *time.Time   `json:"lastPass"`
	PassSeconds float64      `json:"passSeconds"` // of the latest that is over
	LookSeconds float64      `json:"lookSeconds"`
	LookError   string       `json:"lookError,omitempty"`
	Retries     []DebugRetry `json:"retries,omitempty"`
	// Record is what is on record of it, as the latest look found it; left out
	// where there is none.
	Record *DebugRecord `json:"record,omitempty"`
}

// DebugWork is something that is done.
type DebugWork struct {
	Sandbox   string    `json:"sandbox"`
	Container string    `json:"container,omitempty"`
	What      string    `json:"what"`
	Since     time.Time `json:"since"`
}

// DebugRetry is an action that is repeated with growing waits.
type DebugRetry struct {
	Action    string    `json:"action"`
	Container string    `json:"container,omitempty"`
	Failed    bool      `json:"failed"`   // else it changed nothing
	Attempts  int       `json:"attempts"` // in vain, in a row
	NextTry   time.Time `json:"nextTry"`
}

// DebugRecord is a summary of a sandbox's records: nothing of what its containers
// were given is in it.
type DebugRecord struct {
	State            string            `json:"state,omitempty"`
	Generation       uint64            `json:"generation,omitempty"`
	GVisor           string            `json:"gvisor,omitempty"`
	CreatedAt        *time.Time        `json:"createdAt,omitempty"`
	Restored         bool              `json:"restored,omitempty"`
	HostNetwork      bool              `json:"hostNetwork,omitempty"`
	SentryPID        int               `json:"sentryPid,omitempty"`
	Sentry           string            `json:"sentry,omitempty"` // alive, gone, silent
	CgroupProcs      int               `json:"cgroupProcs"`
	Checkpoint       bool              `json:"checkpoint,omitempty"`       // it is on disk
	Broken           string            `json:"broken,omitempty"`           // why the record can't be used
	BrokenContainers map[string]string `json:"brokenContainers,omitempty"` // why those can't be used
	Damaged          map[string]string `json:"damaged,omitempty"`          // for which a copy stands in
	ProbeError       string            `json:"probeError,omitempty"`
	Containers       []DebugContainer  `json:"containers,omitempty"` // gofers of volumes included
}

// DebugContainer is a summary of a container's record.
type DebugContainer struct {
	Name          string     `json:"name"`
	ID            string     `json:"id"`
	State         string     `json:"state"`
	Generation    uint64     `json:"generation,omitempty"`
	GoferPID      int        `json:"goferPid,omitempty"`
	Gofer         string     `json:"gofer,omitempty"` // alive, gone, silent
	GoferRestarts int        `json:"goferRestarts,omitempty"`
	KeeperPID     int        `json:"keeperPid,omitempty"`
	Keeper        string     `json:"keeper,omitempty"`
	HookPhase     string     `json:"hookPhase,omitempty"`
	StartedAt     *time.Time `json:"startedAt,omitempty"`
	EndedAt       *time.Time `json:"endedAt,omitempty"`
	ExitCode      *int       `json:"exitCode,omitempty"` // left out where nobody knows
	ExitReason    string     `json:"exitReason,omitempty"`
}
