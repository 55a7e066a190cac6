package actuator

import (
	"context"
	"fmt"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// begin writes the record of a new instance, whose command is started next, or
// whose hooks come first; or takes that of one whose hooks have succeeded.
func (a *Actuator) begin(ctx context.Context, w *work, sentry gvisor.Sentry, c *desired.Container, hash string) (rec observed.ContainerRecord, hooks bool, err error) {
	if was := w.container(); was != nil && was.HookPhase == observed.HooksCreated && was.Hash == hash {
		rec = *was
		rec.HookPhase = observed.HooksOwed // it is not begun with twice
		return rec, false, a.c.Records.SaveContainer(rec)
	}
	rec = observed.ContainerRecord{Sandbox: w.Sandbox, Name: c.Name, Hash: hash, Fields: c.Fields(), Attempt: 1}
	earlier, err := a.instances(w)
	if err != nil {
		return rec, false, err
	}
	for _, old := range earlier {
		if old.HookPhase != "" {
			return rec, false, fmt.Errorf("%w: hooks of instance %s are to be run first", plan.ErrChanged, old.ID)
		}
		rec.Attempt, rec.GoferRestarts = max(rec.Attempt, old.Attempt+1), old.GoferRestarts
		if err := a.discard(ctx, sentry, old); err != nil {
			return rec, false, err
		}
	}
	rec.ID = instanceID(w.Sandbox, c.Name, rec.Attempt)
	if err := moveContainer(&rec, observed.Creating); err != nil {
		return rec, false, err
	}
	if !c.Hooks.IsZero() || c.Bundle != "" && a.c.AllowBundleHooks {
		rec.HookPhase = observed.HooksCreating
	}
	return rec, rec.HookPhase != "", a.c.Records.SaveContainer(rec)
}

// beginHooks makes the bundle that an instance's hooks are told of, and runs
// those that come before its command.
func (a *Actuator) beginHooks(w *work, d *plan.Declared, c *desired.Container, rec *observed.ContainerRecord) error {
	b, err := a.bundle(d.Sandbox, c)
	if err != nil {
		return err
	}
	defer b.close()
	b.mountPrivately() // what they are told; see mountVolumes
	if err := a.writeHookBundle(*rec, c, b); err != nil {
		return err
	}
	if err := a.setHooks(rec, b.hooks); err != nil {
		return err
	}
	if err := a.c.Records.SaveContainer(*rec); err != nil {
		return err
	}
	a.createHooks(*rec, b.hooks, w.rec.Sentry)
	return nil
}

// instanceID is the ID of an instance of a container.
func instanceID(sandbox, container string, attempt int) string {
	return fmt.Sprintf("%s.%s.%d", sandbox, container, attempt)
}
