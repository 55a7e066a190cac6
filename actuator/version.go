package actuator

import (
	"debug/buildinfo"
	"fmt"

	"sandboxer/internal/infra"
	"sandboxer/observed"
)

// gvisorOf is the version of gVisor that a sentry is of, as its program says. A
// sentry outlives the daemon, and the file that its program was.
func gvisorOf(sentry observed.Process) (string, error) {
	info, err := buildinfo.ReadFile(fmt.Sprintf("/proc/%d/exe", sentry.PID))
	if err != nil {
		return "", fmt.Errorf("which gVisor sentry %d is of can't be told: %w", sentry.PID, err)
	}
	for _, m := range info.Deps {
		if m.Path == "gvisor.dev/gvisor" {
			return m.Version, nil
		}
	}
	return "", nil
}

// noteGVisor has the record of a sandbox that an earlier version has made say which
// gVisor its sentry is of.
func (a *Actuator) noteGVisor(rec *observed.Record) error {
	if rec.GVisor != "" {
		return nil
	}
	version, err := gvisorOf(rec.Sentry)
	if err != nil || version == "" {
		return err
	}
	rec.GVisor = version
	return a.c.Records.Save(*rec)
}

// readableBy names what can read a checkpoint of a sandbox.
func (a *Actuator) readableBy(rec *observed.Record) string {
	if rec.GVisor == "" || rec.GVisor == a.c.GVisor {
		return a.c.Checkpoints.Runtime
	}
	return infra.Checkpoints(rec.GVisor)
}
