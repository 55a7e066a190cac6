package plan

import "sandboxer/observed"

// world is what one look comes down to.
type world int

const (
	absent    world = iota // nothing that runs, no record of the sandbox
	broken                 // something that no usable record explains
	halfMade               // a creation that was not finished
	stopping               // a stop that was not finished
	stopped                // no process, only records
	lost                   // the record says that it runs, and its sentry is gone
	silent                 // its sentry lives and does not answer
	up                     // its sentry answers
	paused                 // frozen
	between                // left while it was being frozen or thawed
	restoring              // left while it was being restored
)

func classify(o *observed.Sandbox) world {
	remains := o.CgroupExists || o.CgroupProcs > 0 || o.Sentry == observed.Alive
	if o.Record == nil {
		if o.Broken != "" || remains {
			return broken
		}
		return absent
	}
	switch o.Record.State {
	case observed.SandboxCreating:
		return halfMade
	case observed.SandboxStopping:
		return stopping
	case observed.SandboxStopped:
		if remains {
			return stopping
		}
		return stopped
	}
	if o.Sentry != observed.Alive {
		return lost
	}
	if o.Unresponsive {
		return silent
	}
	switch o.Record.State {
	case observed.SandboxUp:
		return up
	case observed.SandboxPaused:
		return paused
	case observed.SandboxPausing, observed.SandboxResuming, observed.SandboxSaving:
		return between
	case observed.SandboxRestoring:
		return restoring
	}
	return broken // a state that this build does not know
}

// Nothing reports whether nothing at all is left of a sandbox.
func Nothing(o *observed.Sandbox) bool {
	return classify(o) == absent && o.Image == nil &&
		len(o.Containers) == 0 && len(o.BrokenContainers) == 0 && len(o.Scores) == 0
}

// Live reports whether a container's command runs, or is frozen while it
// does. A frozen sandbox's containers all say paused, also those that ended
// before, so the exit decides.
func Live(c *observed.Container) bool {
	return c.Exit == nil && (c.State == observed.Running || c.State == observed.Paused)
}

// ended reports whether a container's command has ended, as far as is known.
func ended(c *observed.Container) bool { return c.Exit != nil || c.State == observed.Stopped }
