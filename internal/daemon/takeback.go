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
	if err := d.uncoverAlone(ctx, checker, was, d.starting); err != nil {
		return err // who notices that the claim is a dead one's tries again
	}
	return claims.TakeBack(d.claim(), true)
}

// takeBackAbandoned does that for daemons that have died; it says whether others start
// just now.
func (d *daemon) takeBackAbandoned(ctx context.Context) (others bool) {
	if err := d.uncoverAbandoned(ctx); err != nil && ctx.Err() == nil {
		d.c.Log.Error(err, "what a daemon has covered that died while it started is not taken back")
	}
	check := onlyPath(d.answers.Scan(scanPatience))
	daemons, err := claims.All(claims.Host{Answers: check, Cgroups: d.cgroups})
	for _, c := range daemons {
		others = others || c.Starting != "" && c.StateDir != d.c.StateDir
	}
	return others && err == nil
}

// uncoverAbandoned takes back what daemons have claimed and covered that have died.
func (d *daemon) uncoverAbandoned(ctx context.Context) error {
	all, err := claims.Abandoned()
	if err != nil || len(all) == 0 {
		return err
	}
	done, err := claims.Uncovering(ctx)
	if err != nil {
		return err
	}
	defer done()
	// While that was waited for, another daemon may have gone on with one, by its name.
	all, err = claims.Abandoned()
	for _, c := range all {
		one := d.uncover(ctx, d.answers, d.own.all(), c.Starting)
		if one == nil {
			one = claims.TakeBack(c, false)
		}
		err = errors.Join(err, one)
	}
	return err
}

// uncoverAlone is uncover once nobody covers.
func (d *daemon) uncoverAlone(ctx context.Context, checker *answers.Checker, own []shelf.Thing, by string) error {
	done, err := claims.Uncovering(ctx)
	if err != nil {
		return err
	}
	defer done()
	return d.uncover(ctx, checker, own, by)
}

// uncover takes away what was covered by somebody and is needed neither for some things
// of this daemon's nor for others'. It needs claims.Uncovering.
func (d *daemon) uncover(ctx context.Context, checker *answers.Checker, own []shelf.Thing, by string) error {
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
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
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
