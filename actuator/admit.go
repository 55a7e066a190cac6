package actuator

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"sandboxer/internal/sentry"
	"sandboxer/observed"
)

// Admit takes over records that are not signed with this daemon's key, as far as
// the kernel bears them out. all: an earlier version ran last, or the key is a new
// one, so that none need be. It comes before all that reads records, and returns
// how many sandboxes it was about. What is not admitted is damaged.
func (a *Actuator) Admit(all bool) (sandboxes int, err error) {
	a.unsignedNotes = all
	names, err := a.c.Records.List()
	errs := []error{err}
	for _, name := range names {
		admitted, err := a.c.Records.Admit(name, all, a.bornOut)
		errs = append(errs, err)
		if len(admitted) > 0 {
			sandboxes++
		}
	}
	// What was forgotten keeps unnoted ones from being believed that are older.
	return sandboxes, errors.Join(append(errs, a.c.Records.Prune())...)
}

// bornOut says what the kernel has against a record. See observed.Records.Admit.
func (a *Actuator) bornOut(rec *observed.Record, c *observed.ContainerRecord, sure bool) error {
	cgroup := rec.Cgroup
	if cgroup == "" {
		cgroup = a.cgroupPath(rec.Name)
	}
	if c == nil {
		if s := rec.ControlSocket; s != "" && filepath.Dir(s) != a.c.Records.Dir(rec.Name) {
			return fmt.Errorf("its control socket is not in its directory: %s", s)
		}
		return a.isIn(cgroup, sure, sentry.Arg0, rec.Sentry)
	}
	return a.isIn(cgroup, sure, "", c.Gofer, c.Keeper)
}

// isIn is an error where one of the processes lives and is not in a cgroup, or not
// called so; sure: or where none of them is.
func (a *Actuator) isIn(cgroup string, sure bool, name string, processes ...observed.Process) error {
	members, err := a.members(cgroup)
	if err != nil {
		return err
	}
	found := false
	for _, p := range processes {
		alive, err := p.Liveness()
		if err != nil {
			return err
		}
		if alive != observed.Alive {
			continue
		}
		if !slices.Contains(members, p) {
			return fmt.Errorf("process %d is not in its sandbox's cgroup %s", p.PID, cgroup)
		}
		if args, err := commandLine(p); name != "" && (err != nil || args[0] != name) {
			return fmt.Errorf("process %d is called %q and not %s", p.PID, args, name)
		}
		found = true
	}
	if sure && !found {
		return fmt.Errorf("none of its processes is in its sandbox's cgroup %s", cgroup)
	}
	return nil
}
