package actuator

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// Adopt takes over what an earlier daemon left running: it waits again for the
// ends of sentries, containers and gofers, and carries containers' output on.
// It goes on with hooks, and acts on nothing else. It is called once, before the loop runs. Sandboxes that
// can't be taken over are named in the error; the loop deals with them.
func (a *Actuator) Adopt() error {
	names, err := a.c.Records.List()
	if err != nil {
		return err
	}
	errs := []error{a.c.Written.Adopt(func(name string) bool { return slices.Contains(names, name) })}
	for _, name := range names {
		if err := a.adopt(name); err != nil {
			errs = append(errs, fmt.Errorf("taking over sandbox %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (a *Actuator) adopt(name string) (err error) {
	defer reconcile.Contain(&err)
	tendErr := a.c.Records.Tend(name)
	loaded, err := a.c.Records.Load(name)
	if err != nil {
		return err
	}
	// The pipes of those that have ended may hold their last words.
	var errs []error
	defer func() { err = errors.Join(err, a.adoptAllHooks(loaded), tendErr) }()
	for _, c := range loaded.Containers {
		err := a.c.Logs.Adopt(c.Sandbox, c.Name, c.ID)
		if err != nil && (c.State == observed.Running || !errors.Is(err, os.ErrNotExist)) {
			errs = append(errs, err)
		}
	}
	if loaded.Record == nil || loaded.Record.Sentry.PID == 0 {
		return errors.Join(errs...)
	}
	alive, err := loaded.Record.Sentry.Liveness()
	if err != nil || alive != observed.Alive {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, a.noteGVisor(loaded.Record), a.watchSentry(*loaded.Record), a.expectRecords(loaded), a.grantVolumes(name))
	sentry := gvisor.Sentry{Process: loaded.Record.Sentry, Socket: loaded.Record.ControlSocket, Timeout: callTimeout}
	for _, s := range loaded.Servers {
		errs = append(errs, a.adoptServer(s))
	}
	for _, c := range loaded.Containers {
		if c.State == observed.Running {
			errs = append(errs, a.attend(sentry, c))
		}
	}
	return errors.Join(errs...)
}

func (a *Actuator) adoptAllHooks(loaded observed.Loaded) error {
	var sentry observed.Process
	if loaded.Record != nil {
		sentry = loaded.Record.Sentry
	}
	var errs []error
	for _, c := range loaded.Containers {
		errs = append(errs, a.adoptHooks(c, sentry))
	}
	return errors.Join(errs...)
}

// attend waits for the end of a container that runs and takes over what its
// gofer may leave.
func (a *Actuator) attend(sentry gvisor.Sentry, c observed.ContainerRecord) error {
	kept, err := a.kept(c)
	if errors.Is(err, plan.ErrGoferLost) {
		err = nil // what is lost is dealt with when it is needed
	} else if err == nil {
		a.note(kept, c)
	}
	var r replacement
	if json.Unmarshal(c.GoferState, &r) == nil { // what can't be read is told of when it is needed
		err = errors.Join(err, a.takeTerminal(c, len(r.Mounts)))
	}
	return errors.Join(a.watch(sentry, c), a.grant(c), err)
}

// expectRecords has what is in a sandbox and has no record count as lost, where
// there are fewer records than what is declared has.
func (a *Actuator) expectRecords(loaded observed.Loaded) error {
	d := a.c.Accepted(loaded.Record.Name)
	if d == nil || loaded.Record.State == observed.SandboxRestoring {
		return nil
	}
	has := func(c desired.Container) bool {
		return slices.ContainsFunc(loaded.Containers, func(r observed.ContainerRecord) bool { return r.Name == c.Name })
	}
	lacks := func(c desired.Container) bool { return !has(c) }
	all := slices.Concat(d.Spec.InitContainers, d.Spec.Containers)
	if !slices.ContainsFunc(all, lacks) && (len(d.Spec.Volumes) == 0 || len(loaded.Servers) > 0) {
		return nil
	}
	found, err := a.unexplained(*loaded.Record, loaded)
	for name := range found {
		err = errors.Join(err, a.c.Records.Expect(loaded.Record.Name, name))
	}
	return err
}
