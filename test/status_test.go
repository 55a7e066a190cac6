package test

import (
	"fmt"
	"slices"
	"time"
)

// The JSON that scripts rely on, as the command line's page has it.

type sandbox struct {
	Name         string `json:"name"`
	Source       string `json:"source"`
	DesiredState string `json:"desiredState"`
	Status       status `json:"status"`
	Deleted      bool   `json:"deleted"` // in a watch only
}

type status struct {
	Phase       string      `json:"phase"`
	Ready       bool        `json:"ready"`
	Reason      string      `json:"reason"`
	Message     string      `json:"message"`
	SpecHash    string      `json:"specHash"`
	Runtime     string      `json:"runtime"`
	SandboxPID  int         `json:"sandboxPid"`
	OOMScoreAdj *int        `json:"oomScoreAdj"`
	Cgroup      string      `json:"cgroup"`
	Conditions  []condition `json:"conditions"`
	Init        []container `json:"initContainers"`
	Containers  []container `json:"containers"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Since   string `json:"since"`
}

type container struct {
	Name          string     `json:"name"`
	ID            string     `json:"id"`
	State         string     `json:"state"`
	Ready         bool       `json:"ready"`
	PID           int        `json:"pid"`
	GoferPID      *int       `json:"goferPid"`
	GoferRestarts int        `json:"goferRestarts"`
	RestartCount  int        `json:"restartCount"`
	ExitCode      *int       `json:"exitCode"`
	Reason        string     `json:"reason"`
	Message       string     `json:"message"`
	StartedAt     *time.Time `json:"startedAt"`
	FinishedAt    *time.Time `json:"finishedAt"`
	NextStartAt   *time.Time `json:"nextStartAt"`
	LastExit      struct {
		ExitCode *int `json:"exitCode"`
	} `json:"lastExit"`
}

// box returns the container of that name; a zero one where there is none.
func (s sandbox) box(name string) container {
	for _, c := range slices.Concat(s.Status.Init, s.Status.Containers) {
		if c.Name == name {
			return c
		}
	}
	return container{}
}

// has says whether a condition holds.
func (s sandbox) has(condition string) bool {
	_, ok := s.condition(condition)
	return ok
}

func (s sandbox) condition(name string) (condition, bool) {
	for _, c := range s.Status.Conditions {
		if c.Type == name && c.Status == "True" {
			return c, true
		}
	}
	return condition{}, false
}

// exited says whether a container has ended with code and stays so.
func (c container) exited(code int) bool {
	return c.State == "stopped" && c.ExitCode != nil && *c.ExitCode == code
}

func (c container) exit() string {
	if c.ExitCode == nil {
		return "unknown"
	}
	return fmt.Sprint(*c.ExitCode)
}

// The conditions that are waited for most.

type check func(sandbox) bool

func phase(want string) check { return func(s sandbox) bool { return s.Status.Phase == want } }

// running says that the declaration of now is what runs.
func running(s sandbox) bool {
	return s.Status.Phase == "Running" && s.DesiredState == "Running" && s.Status.SandboxPID != 0
}

func and(checks ...check) check {
	return func(s sandbox) bool {
		for _, c := range checks {
			if !c(s) {
				return false
			}
		}
		return true
	}
}
