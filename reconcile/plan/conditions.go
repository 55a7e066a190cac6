package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// The types of conditions.
const (
	// RuntimeUnreachable: nobody can tell what runs, or the sentry is silent.
	RuntimeUnreachable = "RuntimeUnreachable"
	// OOMScoreDenied: the kernel refused the declared OOM score.
	OOMScoreDenied = "OOMScoreDenied"
	// LimitsDenied: the declared cgroup limits could not be written.
	LimitsDenied = "LimitsDenied"
	// CreateFailed: the last attempt to create the sandbox failed.
	CreateFailed = "CreateFailed"
	// RestoreFailed: nothing can be restored from the checkpoint, or the last
	// attempt to failed. The checkpoint is kept.
	RestoreFailed = "RestoreFailed"
	// SuspendFailed: the last attempt to write a checkpoint failed. The sandbox
	// goes on as it was.
	SuspendFailed = "SuspendFailed"
	// DependencyMissing: the sandbox waits for one that is not declared.
	DependencyMissing = "DependencyMissing"
	// DependencyNotReady: the sandbox waits for one that is not ready.
	DependencyNotReady = "DependencyNotReady"
	// RecordDamaged: what is kept of the sandbox was damaged, and what was used
	// in its place.
	RecordDamaged = "RecordDamaged"
	// SourceReplaced: what a container was made from is another one on the host
	// by now. It runs on with what it has until it is restarted.
	SourceReplaced = "SourceReplaced"
	// StartBlocked: something is to be started in place of what runs, and could not
	// be. What runs goes on as it was until it could.
	StartBlocked = "StartBlocked"
	// InternalError: the daemon met a fault of its own, which it contains.
	InternalError = "InternalError"
	// Unsupported: the sandbox can't be in the declared state at all.
	Unsupported = "Unsupported"
)

// Condition is a state of affairs that a user may wait for or act upon.
type Condition struct {
	Type    string // OOMScoreDenied, RuntimeUnreachable, …
	Reason  string // one CamelCase word
	Message string
}

func (p *planner) condition(typ, reason, format string, args ...any) {
	p.conditions = append(p.conditions, Condition{typ, reason, fmt.Sprintf(format, args...)})
}

func (p *planner) notice(container, reason, format string, args ...any) {
	p.notices = append(p.notices, Notice{container, reason, fmt.Sprintf(format, args...)})
}

// SortConditions puts them in the order of their types.
func SortConditions(c []Condition) {
	if len(c) > 1 {
		slices.SortFunc(c, func(a, b Condition) int { return cmp.Compare(a.Type, b.Type) })
	}
}
