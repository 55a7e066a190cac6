package actuator

import (
	"errors"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// recordLostEnds writes the ends of containers that had none. Where there is a
// checkpoint, it is what knows of all of them, and they go on from there.
func (a *Actuator) recordLostEnds(loaded observed.Loaded, w work) error {
	image, err := a.c.Checkpoints.Read(w.Sandbox)
	errs := []error{err}
	for _, c := range loaded.Containers {
		if image == nil {
			errs = append(errs, a.recordLostEnd(c, w.ExitReason, w.ExitMessage))
		} else {
			errs = append(errs, a.c.Records.DeleteContainer(c.Sandbox, c.Name))
		}
	}
	for name := range loaded.BrokenContainers {
		if image != nil {
			errs = append(errs, a.c.Records.DeleteContainer(w.Sandbox, name))
		}
	}
	return errors.Join(errs...)
}

// stoppedRecord is that of a sandbox of which nothing is known but that nothing
// of it runs.
func (a *Actuator) stoppedRecord(sandbox string) observed.Record {
	return observed.Record{Name: sandbox, Runtime: desired.RuntimeGVisor,
		Cgroup: a.cgroupPath(sandbox), State: observed.SandboxStopped, CreatedAt: time.Now()}
}
