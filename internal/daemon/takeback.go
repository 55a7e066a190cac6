package daemon

import (
	"context"
	"errors"

	"sandboxer/internal/answers"
	"sandboxer/internal/claims"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

// A daemon whose start is refused, or that dies meanwhile, leaves others' containers as
// they were: its claim is tentative until it is sure to start, and what it has covered is
// noted, to be taken away by itself or by whichever daemon notices.

// takeBack takes back what a start that is refused has claimed and covered.
func (d *daemon) takeBack(ctx context.Context, checker *answers.Checker) error {
	var was []shelf.Thing
	if d.before != nil {
		was = d.before.Things
	}
	if err := d.uncover(ctx, checker, was, d.starting); err != nil {
		return err // who notices that the claim is a dead one's tries again
	}
	return claims.TakeBack(d.claim(), true)
}

// takeBackAbandoned does that for daemons that have died; it says whether others start
// just now.
func (d *daemon) takeBackAbandoned(ctx context.Context) (others bool) {
	all, err := claims.Abandoned()
	for _, c := range all {
		one := d.uncover(ctx, d.answers, d.own.all(), c.Starting)
		if one == nil {
			one = claims.TakeBack(c, false)
		}
		err = errors.Join(err, one)
	}
	if err != nil && ctx.Err() == nil {
		d.c.Log.Error(err, "what a daemon has covered that died while it started is not taken back")
	}
	check := onlyPath(d.answers.Scan(scanPatience))
	daemons, err := claims.All(claims.Host{Answers: check, Cgroups: d.cgroups})
	for _, c := range daemons {
		others = others || c.Starting != "" && c.StateDir != d.c.StateDir
	}
	return others && err == nil
}

// uncover takes away what was covered by somebody and is needed neither for some things
// of this daemon's nor for others'.
func (d *daemon) uncover(ctx context.Context, checker *answers.Checker, own []shelf.Thing, by string) error {
	done, err := claims.Uncovering()
	if err != nil {
		return err
	}
	defer done()
	guard, err := d.guardOf(ctx, checker, own, func(c *claims.Claim) bool { return c.Starting != by })
	if err != nil {
		return err
	}
	still, err := guard.Look()
	if err != nil {
		return err
	}
	all, err := d.sandboxes(onlyPath(checker.Scan(scanPatience)), func(*sandboxOf) bool { return true })
	if err != nil {
		return err
	}
	var errs []error
	for i := range all {
		runs, err := all[i].find()
		if err != nil || runs == nil {
			errs = append(errs, err)
			continue
		}
		if err = runs.Pin(); err == nil {
			err = shelf.Uncover(runs, by, still)
		}
		runs.Unpin()
		if !errors.Is(err, observed.ErrGone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
