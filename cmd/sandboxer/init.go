package main

import (
	"cmp"
	"fmt"
	"slices"

	"sandboxer/internal/api"
	"sandboxer/observed"
)

// initPhase says how far the init containers are, in the words of kubectl; ok is
// false where they are not what the sandbox is at.
func initPhase(s api.Status) (text string, ok bool) {
	i := slices.IndexFunc(s.InitContainers, func(c api.Container) bool { return !c.Ready })
	if i < 0 {
		return "", false
	}
	c := s.InitContainers[i]
	switch ended := c.State == "stopped"; {
	case s.Phase == api.Pending && s.Reason == api.CrashLoopBackOff && ended && c.NextStartAt != nil:
		return "Init:CrashLoopBackOff", true
	case s.Phase == api.Pending && s.Reason == "Initializing" && !ended:
		return fmt.Sprintf("Init:%d/%d", i, len(s.InitContainers)), true
	case s.Reason == "Initializing" && ended, s.Phase == api.Failed && ended && s.Reason == c.Reason:
		return "Init:" + cmp.Or(c.Reason, observed.ReasonError), true
	}
	return "", false
}
