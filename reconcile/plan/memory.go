package plan

import (
	"maps"
	"reflect"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// Memory is what the loop remembers of one sandbox from pass to pass. It is
// stored, so that neither a restart of the daemon nor a reboot forgets it.
type Memory struct {
	Containers map[string]ContainerMemory `json:"containers,omitempty"`
	// GraceSeconds is the grace period that was declared last: it is needed
	// when nothing is declared any more. Nil: never seen, the default holds.
	GraceSeconds *int64 `json:"graceSeconds,omitempty"`
	// SpecHash is the Declared.WorkHash that the counters belong to: a changed
	// spec pre-empts back-off.
	SpecHash string `json:"specHash,omitempty"`
	// Identity is the Declared.Identity that what has ended for good belongs to.
	Identity string `json:"identity,omitempty"`
	// StopAsked is when the graceful end of the whole sandbox began.
	StopAsked time.Time `json:"stopAsked,omitzero"`
	// RanIn is the last sentry in which a command of the user's was seen.
	RanIn observed.Process `json:"ranIn,omitzero"`
	// VolumesLost is the last sentry whose volumes nobody can serve any more.
	VolumesLost observed.Process `json:"volumesLost,omitzero"`
	// InitDone counts the init containers that have succeeded, one after the
	// other, in the sentry InitIn.
	InitDone int              `json:"initDone,omitempty"`
	InitIn   observed.Process `json:"initIn,omitzero"`
	// RestartAsked is when somebody asked for a new sandbox in place of one that
	// was created before.
	RestartAsked time.Time `json:"restartAsked,omitzero"`

	// CreateFailures counts creations that failed in a row; NextCreate is when
	// the next may be tried, after a failure or a loss. LastError is what the
	// last failure said.
	CreateFailures int       `json:"createFailures,omitempty"`
	NextCreate     time.Time `json:"nextCreate,omitzero"`
	LastError      string    `json:"lastError,omitempty"`
	// SuspendFailures, NextSuspend and SuspendError are the same for checkpoints.
	SuspendFailures int       `json:"suspendFailures,omitempty"`
	NextSuspend     time.Time `json:"nextSuspend,omitzero"`
	SuspendError    string    `json:"suspendError,omitempty"`
	// Losses counts sentries that died in a row without a run of ResetAfter
	// between them; LostSentry is the last one that was counted.
	Losses     int              `json:"losses,omitempty"`
	LostSentry observed.Process `json:"lostSentry,omitzero"`
	// OOMKills is how many kills by the kernel have been told of, in the cgroup
	// of OOMSentry; OOMSeen is when the last were.
	OOMKills  uint64           `json:"oomKills,omitempty"`
	OOMSentry observed.Process `json:"oomSentry,omitzero"`
	OOMSeen   time.Time        `json:"oomSeen,omitzero"`
	// UnresponsiveSince is when the sentry was first found silent.
	UnresponsiveSince time.Time `json:"unresponsiveSince,omitzero"`
	// HeldAt is when it was found last that the sentry could not have answered,
	// Stall what was known of that when it was last, or first found silent.
	HeldAt time.Time      `json:"heldAt,omitzero"`
	Stall  observed.Stall `json:"stall,omitzero"`

	// Damage says what was found damaged of what is kept of the sandbox, DamageIn
	// in which sentry's life; MendFailed that the records can't be mended.
	Damage     string           `json:"damage,omitempty"`
	DamageIn   observed.Process `json:"damageIn,omitzero"`
	MendFailed bool             `json:"mendFailed,omitempty"`
	// Blocked is what was told last of what could not be started in place of what
	// runs; empty: there is no such thing.
	Blocked string `json:"blocked,omitempty"`

	// ScoreDenied is what was said when the last scores were refused,
	// ScoreDeniedFor the Declared.Scores that were refused, and ScoreRetry
	// when they are tried again.
	ScoreDenied    string    `json:"scoreDenied,omitempty"`
	ScoreDeniedFor string    `json:"scoreDeniedFor,omitempty"`
	ScoreRetry     time.Time `json:"scoreRetry,omitzero"`
	// ScoreLowest is the lowest score that was permitted then.
	ScoreLowest int `json:"scoreLowest,omitempty"`
	// LimitsDenied, LimitsDeniedFor (a LimitsHash) and LimitsRetry are the
	// same for cgroup limits: one below what is in use is refused.
	LimitsDenied    string    `json:"limitsDenied,omitempty"`
	LimitsDeniedFor string    `json:"limitsDeniedFor,omitempty"`
	LimitsRetry     time.Time `json:"limitsRetry,omitzero"`

	// Clock is what all these times are by. It is no part of what Equal compares.
	Clock Clock `json:"clock,omitzero"`
}

// ContainerMemory is what is remembered of one container by name.
type ContainerMemory struct {
	// Hash is the desired.Container.Hash that the counters belong to.
	Hash string `json:"hash,omitempty"`
	// StopSignal is the signal that was declared last.
	StopSignal string `json:"stopSignal,omitempty"`
	// PreStop is what was declared last to be done before the stop signal.
	PreStop *desired.PreStop `json:"preStop,omitempty"`
	// GoferLost is the instance whose gofer could not be replaced.
	GoferLost string `json:"goferLost,omitempty"`
	// RestartAsked and GoferAsked are when somebody asked for a new instance, or
	// a new gofer, in place of one that began before.
	RestartAsked time.Time `json:"restartAsked,omitzero"`
	GoferAsked   time.Time `json:"goferAsked,omitzero"`
	// Live is the ID of the last instance that was seen to exist, and LiveAt
	// when it started: IDs begin anew where records were lost.
	Live   string    `json:"live,omitempty"`
	LiveAt time.Time `json:"liveAt,omitzero"`
	// Seen is the ID of the last instance whose end was counted.
	Seen string `json:"seen,omitempty"`
	// Exit is how the last instance that ended did so; kept over the loss of
	// its record.
	Exit *observed.Exit `json:"exit,omitempty"`
	// StartedAt is when the last instance that ended had started.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// Fresh says that the last end does not bear on the next start: it was
	// asked for, or what is declared has changed since. The next start is due
	// at once, under every restart policy, and is no restart.
	Fresh bool `json:"fresh,omitempty"`
	// Restarts counts the instances that followed an end that nobody asked
	// for (status: restartCount). It lasts as long as the container is
	// declared.
	Restarts int `json:"restarts,omitempty"`
	// Attempts counts ends in a row without a run of ResetAfter between them.
	Attempts int `json:"attempts,omitempty"`
	// NextStart is when the next start is due; zero: at once, or never.
	NextStart time.Time `json:"nextStart,omitzero"`
	// StopAsked is when the instance StopID was asked to end; StopReason is
	// the exit reason that its end gets, empty where the end is as declared, and
	// StopMessage goes with it.
	StopAsked   time.Time `json:"stopAsked,omitzero"`
	StopID      string    `json:"stopID,omitempty"`
	StopReason  string    `json:"stopReason,omitempty"`
	StopMessage string    `json:"stopMessage,omitempty"`
	// PreStopping is the instance that was asked to end and has not been sent its
	// stop signal yet, because of what it does before; SignalledAt is when it was
	// sent the signal after that.
	PreStopping string    `json:"preStopping,omitempty"`
	SignalledAt time.Time `json:"signalledAt,omitzero"`
	// Health is what probes have found out about the instance Live.
	Health Health `json:"health,omitzero"`
	// MemoryLimit is the limit in force for the instance Live, in bytes; 0: none.
	MemoryLimit int64 `json:"memoryLimit,omitempty"`
	// ClockSet is by how much the clock was set forward while the instance Live
	// ran.
	ClockSet time.Duration `json:"clockSet,omitempty"`
}

// IsZero reports whether there is nothing to remember.
func (m Memory) IsZero() bool { return m.Equal(Memory{}) }

// Equal reports whether both remember the same; instants are compared, not
// their time zones.
func (m Memory) Equal(o Memory) bool {
	return m.SpecHash == o.SpecHash && m.Identity == o.Identity &&
		equalPtr(m.GraceSeconds, o.GraceSeconds) &&
		m.StopAsked.Equal(o.StopAsked) &&
		m.RanIn == o.RanIn &&
		m.VolumesLost == o.VolumesLost &&
		m.InitDone == o.InitDone &&
		m.InitIn == o.InitIn &&
		m.RestartAsked.Equal(o.RestartAsked) &&
		m.CreateFailures == o.CreateFailures &&
		m.NextCreate.Equal(o.NextCreate) &&
		m.LastError == o.LastError &&
		m.SuspendFailures == o.SuspendFailures &&
		m.NextSuspend.Equal(o.NextSuspend) &&
		m.SuspendError == o.SuspendError &&
		m.Losses == o.Losses &&
		m.LostSentry == o.LostSentry &&
		m.OOMKills == o.OOMKills &&
		m.OOMSentry == o.OOMSentry &&
		m.OOMSeen.Equal(o.OOMSeen) &&
		m.UnresponsiveSince.Equal(o.UnresponsiveSince) &&
		m.HeldAt.Equal(o.HeldAt) &&
		m.Stall == o.Stall &&
		m.Damage == o.Damage &&
		m.DamageIn == o.DamageIn &&
		m.MendFailed == o.MendFailed &&
		m.Blocked == o.Blocked &&
		m.ScoreDenied == o.ScoreDenied &&
		m.ScoreDeniedFor == o.ScoreDeniedFor &&
		m.ScoreRetry.Equal(o.ScoreRetry) &&
		m.ScoreLowest == o.ScoreLowest &&
		m.LimitsDenied == o.LimitsDenied &&
		m.LimitsDeniedFor == o.LimitsDeniedFor &&
		m.LimitsRetry.Equal(o.LimitsRetry) &&
		maps.EqualFunc(m.Containers, o.Containers, ContainerMemory.Equal)
}

// Equal reports whether both remember the same.
func (c ContainerMemory) Equal(o ContainerMemory) bool {
	return c.Hash == o.Hash &&
		c.StopSignal == o.StopSignal &&
		reflect.DeepEqual(c.PreStop, o.PreStop) &&
		c.GoferLost == o.GoferLost &&
		c.RestartAsked.Equal(o.RestartAsked) &&
		c.GoferAsked.Equal(o.GoferAsked) &&
		c.Live == o.Live &&
		c.LiveAt.Equal(o.LiveAt) &&
		c.Seen == o.Seen &&
		equalExit(c.Exit, o.Exit) &&
		c.StartedAt.Equal(o.StartedAt) &&
		c.Fresh == o.Fresh &&
		c.Restarts == o.Restarts &&
		c.Attempts == o.Attempts &&
		c.NextStart.Equal(o.NextStart) &&
		c.StopAsked.Equal(o.StopAsked) &&
		c.StopID == o.StopID &&
		c.StopReason == o.StopReason &&
		c.StopMessage == o.StopMessage &&
		c.PreStopping == o.PreStopping &&
		c.SignalledAt.Equal(o.SignalledAt) &&
		c.Health == o.Health &&
		c.MemoryLimit == o.MemoryLimit &&
		c.ClockSet == o.ClockSet
}

func equalPtr(a, b *int64) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func equalExit(a, b *observed.Exit) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.At, y.At = time.Time{}, time.Time{}
	return x == y && a.At.Equal(b.At)
}
