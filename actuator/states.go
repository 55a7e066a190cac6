package actuator

import (
	"fmt"
	"slices"

	"sandboxer/observed"
)

// StateError says that an action does not fit the state of what it is for.
type StateError struct {
	ID     string // sandbox or container
	State  string
	Action string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("cannot %s %s in state %s", e.Action, e.ID, e.State)
}

// sandboxStates lists from which states each state of a sandbox's record can
// be reached. The empty state is that of a sandbox without a record. A state
// may follow itself: what a crash cut off is done again.
var sandboxStates = map[observed.SandboxState][]observed.SandboxState{
	observed.SandboxCreating:  {"", observed.SandboxStopped},
	observed.SandboxUp:        {observed.SandboxCreating, observed.SandboxResuming, observed.SandboxRestoring},
	observed.SandboxPausing:   {observed.SandboxUp, observed.SandboxPausing, observed.SandboxResuming, observed.SandboxSaving},
	observed.SandboxPaused:    {observed.SandboxPausing, observed.SandboxSaving},
	observed.SandboxResuming:  {observed.SandboxPaused, observed.SandboxResuming, observed.SandboxPausing, observed.SandboxSaving},
	observed.SandboxSaving:    {observed.SandboxUp, observed.SandboxPausing, observed.SandboxResuming, observed.SandboxSaving},
	observed.SandboxRestoring: {observed.SandboxCreating},
	observed.SandboxStopping: {
		observed.SandboxCreating, observed.SandboxUp, observed.SandboxPausing, observed.SandboxPaused,
		observed.SandboxResuming, observed.SandboxSaving, observed.SandboxRestoring, observed.SandboxStopping, observed.SandboxStopped,
	},
	observed.SandboxStopped: {observed.SandboxStopping},
}

// containerStates is the same for one instance of a container. Paused is not
// among them: it is the sandbox that is paused.
var containerStates = map[observed.ContainerState][]observed.ContainerState{
	observed.Creating: {""},
	observed.Running:  {observed.Creating, observed.Running},
	observed.Stopped:  {observed.Creating, observed.Running, observed.Stopped},
}

// moveSandbox changes the state of rec, or says why it can't.
func moveSandbox(rec *observed.Record, to observed.SandboxState) error {
	if !slices.Contains(sandboxStates[to], rec.State) {
		return &StateError{ID: "sandbox " + rec.Name, State: string(rec.State), Action: "make " + string(to)}
	}
	rec.State = to
	return nil
}

// moveContainer changes the state of rec, or says why it can't.
func moveContainer(rec *observed.ContainerRecord, to observed.ContainerState) error {
	if !slices.Contains(containerStates[to], rec.State) {
		return &StateError{ID: "container " + rec.ID, State: string(rec.State), Action: "make " + string(to)}
	}
	rec.State = to
	return nil
}
