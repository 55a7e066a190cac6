package actuator

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/checkpoint"
	"sandboxer/internal/sources"
	"sandboxer/reconcile/plan"
)

// mostFaults is how many faults of one container Unfit tells.
const mostFaults = 3

// Unfit says of containers of d, or of plan.Whole, why they could not be started
// now, by what the host has for them. What can't be known is no reason: a file
// system that does not answer, and what a mount or a variable may hold. Nothing is
// changed.
func (a *Actuator) Unfit(d *plan.Declared, names []string) map[string]string {
	unfit := map[string]string{}
	for _, name := range names {
		if name != plan.Whole {
			if c, _ := d.Container(name); c != nil {
				if why := a.unfit(d.Sandbox, c); why != "" {
					unfit[name] = why
				}
			}
			continue
		}
		var faults []string
		if from := d.Spec.RestoreFrom; from != "" {
			if why := a.unrestorable(d, from); why != "" {
				faults = append(faults, "restoreFrom: "+why)
			}
		}
		for c := range d.All() {
			if why := a.unfit(d.Sandbox, c); why != "" {
				faults = append(faults, fmt.Sprintf("container %q: %s", c.Name, why))
			}
		}
		if len(faults) > 0 {
			unfit[name] = strings.Join(faults, "; ")
		}
	}
	return unfit
}

// unfit says why a container could not be started; empty: nothing is known
// against it. Paths are opened as for its start.
func (a *Actuator) unfit(d *desired.Sandbox, c *desired.Container) string {
	paths := a.pathsOf(d, c)
	paths.Opened = nil // that is for who uses it
	host := sources.Host{
		Answers: a.c.Answers.Check, Paths: paths, Ordered: a.ordered, BundleHooks: a.c.AllowBundleHooks, Inside: a.c.Answers.Inside,
		Unknown: func(err error) bool { _, silent := errors.AsType[*answers.Silent](err); return silent },
	}
	var faults []string
	for _, p := range host.Container(d, c) {
		faults = append(faults, p.Path+": "+p.Message)
	}
	slices.Sort(faults)
	faults = slices.Compact(faults)
	if more := len(faults) - mostFaults; more > 0 {
		faults = append(faults[:mostFaults], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(faults, ", ")
}

// rootError says that what is declared as a container's root can't be one.
type rootError struct{ cause error }

func (e *rootError) Error() string { return "root file system: " + e.cause.Error() }
func (e *rootError) Unwrap() error { return e.cause }

// unfitError is a failure in the words of validate and plan.
type unfitError struct {
	why   string
	cause error
}

func (e *unfitError) Error() string { return e.why }
func (e *unfitError) Unwrap() error { return e.cause }

// explain says of a start that failed for what is in a container's root, or is not,
// what that is, as validate and plan do, where it can be known.
func (a *Actuator) explain(d *desired.Sandbox, c *desired.Container, err error) error {
	_, root := errors.AsType[*rootError](err)
	if !root && !Unloadable(err) {
		return err
	}
	if why := a.unfit(d, c); why != "" {
		return &unfitError{why, err}
	}
	if errors.Is(err, unix.ENOENT) || strings.HasSuffix(err.Error(), unix.ENOENT.Error()) {
		return fmt.Errorf("%w: the program, its loader, or the interpreter that its first line names, is not in the container", err)
	}
	return err
}

// Unloadable says of a sentry's answer that it could not load a program.
func Unloadable(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "error finding executable ") || strings.Contains(text, "failed to load ")
}

// unrestorable says why nothing can be restored from a directory.
func (a *Actuator) unrestorable(d *plan.Declared, dir string) string {
	if a.c.Answers.Check(dir) != nil {
		return ""
	}
	image, err := checkpoint.Read(dir, a.c.Checkpoints.Runtime)
	if err != nil {
		return err.Error()
	}
	return plan.Refusal(image, d)
}
