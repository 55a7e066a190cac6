package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/internal/logs"
	"sandboxer/internal/status"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// The methods of this file implement api.Backend.

// Health says whether everything there is has been looked at once.
func (d *daemon) Health(context.Context) error { return d.startup.err() }

// refreshTime is how long a fresh look is waited for. What takes longer, such as
// the making of a sandbox that is under way, shows in what is known by then.
const refreshTime = 5 * time.Second

// Refresh implements api.Backend.
func (d *daemon) Refresh(ctx context.Context, name string) error {
	if observed.CheckName(name) != nil {
		return nil // no sandbox is called so; a path is made of none
	}
	soon, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	err := d.directory.Read(soon)
	if err == nil {
		d.awaitDying(soon, name)
		err = d.loop.Look(soon, name)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// dyingTime is how long a process is waited for that is dying: one may be frozen,
// or in the kernel for good.
const dyingTime = time.Second

// awaitDying waits for the end of those of a sandbox's processes that somebody has
// just killed: until then they look alive.
func (d *daemon) awaitDying(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, dyingTime)
	defer cancel()
	pids, _, err := d.cgroups.Procs(filepath.Join(d.c.CgroupParent, name))
	// Those all of whose threads are on their way out are in no list of the cgroup's.
	if s, known := d.board.Get(name); known {
		if s.Status.SandboxPID != 0 {
			pids = append(pids, s.Status.SandboxPID)
		}
		for i := range s.Status.Containers {
			if pid := s.Status.Containers[i].GoferPID; pid != nil {
				pids = append(pids, *pid)
			}
		}
	}
	for _, pid := range pids {
		_ = observed.AwaitDying(ctx, pid) // the look that follows says how it stands
	}
	if err != nil {
		d.c.Log.V(1).Info("looking for processes that are dying failed", "sandbox", name, "error", err.Error())
	}
}

func (d *daemon) Sandboxes() []api.Sandbox { return d.board.List() }

func (d *daemon) Sandbox(name string) (api.Sandbox, error) {
	s, ok := d.board.Get(name)
	if !ok {
		return api.Sandbox{}, fmt.Errorf("sandbox %q: %w", name, api.ErrNotFound)
	}
	return s, nil
}

func (d *daemon) Watch(ctx context.Context, name string, send func(api.Change) error) error {
	return d.board.Watch(ctx, name, send)
}

func (d *daemon) Describe(_ context.Context, name string) (api.Description, error) {
	s, err := d.Sandbox(name)
	if err != nil {
		return api.Description{}, err
	}
	pass, _ := d.passes.get(name)
	description := status.Describe(s, pass, d.events.List(name))
	if set := d.directory.Set(); set != nil {
		for _, n := range set.NotesOf(name) {
			description.Notes = append(description.Notes, n.Path+": "+n.Message)
		}
	}
	return description, nil
}

func (d *daemon) Events(sandbox string) []events.Event { return d.events.List(sandbox) }

func (d *daemon) FollowEvents(ctx context.Context, sandbox string, send func(events.Event) error) error {
	return d.events.Follow(ctx, sandbox, send)
}

func (d *daemon) Logs(ctx context.Context, sandbox, container string, o logs.Options, w io.Writer) error {
	if !o.Follow {
		return d.logs.Read(ctx, sandbox, container, o, w)
	}
	until := make(chan struct{})
	o.Until = until
	watching, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		// It fails when the container has ended for good, or ctx is done.
		_ = d.board.Watch(watching, sandbox, func(c api.Change) error {
			if pass, _ := d.passes.get(sandbox); !c.Deleted && !status.Over(pass, container) {
				return nil
			}
			close(until)
			return errOver
		})
	})
	defer wg.Wait()
	defer cancel()
	return d.logs.Read(ctx, sandbox, container, o, w)
}

var errOver = errors.New("it has ended for good")

// Restart implements api.Backend.
func (d *daemon) Restart(ctx context.Context, name string, containers []string, gofers bool) (time.Time, error) {
	s, held := d.source.Declared(name)
	if s != nil && !held && s.Spec.State != desired.Running && s.Spec.State != desired.Paused {
		return time.Time{}, fmt.Errorf("%w: sandbox %q is declared %s, and nothing of it is declared to run: write state: Running into its manifest", api.ErrInvalid, name, s.Spec.State)
	}
	if s == nil || held || s.Spec.State != desired.Running && s.Spec.State != desired.Paused {
		return time.Time{}, fmt.Errorf("%w: nothing of sandbox %q is declared to run; its declared state says what is", api.ErrInvalid, name)
	}
	others := slices.DeleteFunc(slices.Clone(containers), func(container string) bool {
		return slices.ContainsFunc(s.Init, func(c desired.Container) bool { return c.Name == container })
	})
	now, ask := time.Now().UTC(), plan.Restart
	switch init := len(containers) - len(others); {
	case gofers:
		ask, others = plan.RestartGofers, containers
	case init > 0 && len(others) == 0:
		return time.Time{}, fmt.Errorf("%w: an init container runs when its sandbox is made: restart %s as a whole", api.ErrInvalid, name)
	case init > 0:
		ask = plan.Renew
	}
	if !gofers {
		if err := d.startable(s, others, len(others) < len(containers)); err != nil {
			return time.Time{}, err
		}
	}
	return now, d.loop.Ask(ctx, name, ask(others, now))
}

// startable is an error where of what runs in a sandbox something could not be
// started again: the whole of it, or one of containers.
func (d *daemon) startable(s *plan.Declared, containers []string, whole bool) error {
	pass, _ := d.passes.get(s.Name)
	var running, faults []string
	for i := range pass.Observed.Containers {
		c := &pass.Observed.Containers[i]
		switch {
		case !plan.Live(c):
		case whole:
			running = []string{plan.Whole}
		case slices.Contains(containers, c.Name):
			running = append(running, c.Name)
		}
	}
	unfit := d.actuator.Unfit(s, running)
	for _, name := range slices.Sorted(maps.Keys(unfit)) {
		if name == plan.Whole {
			faults = append(faults, unfit[name])
		} else {
			faults = append(faults, fmt.Sprintf("container %q: %s", name, unfit[name]))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: it could not be started again, and nothing was stopped: %s", api.ErrInvalid, strings.Join(faults, "; "))
}

func (d *daemon) ConfirmDeletions(_ context.Context, names []string) (api.Confirmation, error) {
	confirmed, others := d.directory.ConfirmDeletions(names...)
	return api.Confirmation{Confirmed: confirmed, NotHeld: others}, nil
}

// Plan looks at every sandbox that is declared or exists and says what its
// next actions would be.
func (d *daemon) Plan(ctx context.Context, paths []string) (api.Plan, error) {
	soon, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	if err := d.directory.Read(soon); err != nil && ctx.Err() != nil {
		return api.Plan{}, err
	}
	set, now := d.directory.Set(), map[string]*desired.Sandbox{}
	if set != nil {
		now = set.Sandboxes
	}
	answer := api.Plan{Actions: []api.Action{}}
	if len(paths) > 0 {
		check := d.answers.Scan(scanPatience)
		var wrong []error
		for _, p := range paths {
			err := check(p, false)
			if err == nil {
				_, err = os.Stat(p)
			}
			if err != nil {
				wrong = append(wrong, err)
			}
		}
		if len(wrong) == len(paths) { // else the others are planned, and these are problems
			return api.Plan{}, fmt.Errorf("%w: %w", api.ErrInvalid, errors.Join(wrong...))
		}
		set = desired.ReadDir(paths, check)
		for _, p := range set.Problems {
			answer.Problems = append(answer.Problems, p.String())
		}
	}
	for _, n := range desired.Place(set.Notes()) {
		answer.Notes = append(answer.Notes, n.Name+": "+n.String())
	}
	names, err := d.Names(ctx)
	if err != nil {
		return api.Plan{}, err
	}
	names = append(names, slices.Collect(maps.Keys(set.Sandboxes))...)
	slices.Sort(names)
	names = slices.Compact(names)
	looks := make([]observed.Sandbox, len(names))
	blind := make([]error, len(names))
	var wg sync.WaitGroup
	works := make([]bool, len(names))
	for i, name := range names {
		works[i] = d.loop.Works(name)
		wg.Go(func() { looks[i], blind[i] = d.looker.Look(ctx, name) })
	}
	wg.Wait()
	if len(paths) > 0 {
		answer.Notes = append(answer.Notes, d.guardNotes(now, set)...)
	}
	for i, name := range names {
		in := plan.Input{Now: time.Now(), Name: name, Held: set.Hold(name) != ""}
		if s := set.Sandboxes[name]; s != nil {
			in.Desired = plan.Declare(s)
			in.Dependencies = plan.Dependencies(in.Desired, func(name string) bool { return set.Sandboxes[name] != nil }, d.dependency)
		}
		in.Observed = looks[i]
		in.Memory, err = d.memories.Load(name)
		// What is halfway as the daemon is at it would look as if it had been left so.
		pass, _ := d.passes.get(name)
		halfway := (works[i] || d.loop.Works(name)) && isHalfway(looks[i]) && !isHalfway(pass.Observed) && !pass.Blind
		if halfway {
			in.Observed, in.Memory, blind[i], err = pass.Observed, pass.Memory, nil, nil
		}
		if err = errors.Join(blind[i], err); err != nil {
			answer.Problems = append(answer.Problems, fmt.Sprintf("sandbox %q: how it stands can't be told: %v", name, err))
			continue
		}
		if names := plan.Successors(&in); len(names) > 0 {
			in.Blocked = d.actuator.Unfit(in.Desired, names)
		}
		r := plan.Decide(in)
		answer.Actions = append(answer.Actions, status.Updates(now[name], set.Sandboxes[name], r.Actions)...)
		answer.Actions = append(answer.Actions, status.Actions(r.Actions)...)
		notes := planNotes(name, holdNote(set, name), r.Conditions)
		if halfway && len(r.Actions) > 0 {
			notes = append(notes, name+": the daemon is at work on it already")
		}
		notes = append(notes, anewNotes(set.Sandboxes[name], r.Actions)...)
		notes = append(notes, d.startNotes(in.Desired, r.Actions)...)
		if s := set.Sandboxes[name]; len(notes)+len(r.Actions) == 0 && s != nil && now[name] != nil && s.Hash() == now[name].Hash() {
			stands, _ := d.board.Get(name)
			notes = standingNotes(stands)
		}
		answer.Notes = append(answer.Notes, notes...)
	}
	return answer, nil
}

// planNotes says why a sandbox will not be as declared when a plan has been
// carried out, or that it will have to be looked after.
func planNotes(name, held string, conditions []plan.Condition) (notes []string) {
	if held != "" {
		notes = append(notes, fmt.Sprintf("%s: %s", name, held))
	}
	for _, c := range conditions {
		if c.Type != plan.RecordDamaged { // which is past
			notes = append(notes, fmt.Sprintf("%s: %s", name, c.Message))
		}
	}
	return notes
}

// holdNote says why a sandbox is not as its manifest is at present.
func holdNote(set *desired.Set, name string) string {
	why, guard := set.Hold(name), set.Held[name]
	switch {
	case guard != "":
		return "it is declared no more, and its removal is held: " + guard
	case why == "":
		return ""
	case set.Sandboxes[name] == nil:
		return "it is declared no more, and its removal is held: " + why
	}
	return "what was accepted last is in force: " + why
}

// startNotes says of what a plan starts why it could not be started, by what the
// host has for it.
func (d *daemon) startNotes(s *plan.Declared, actions []plan.Action) (notes []string) {
	var names []string
	for _, a := range actions {
		switch {
		case s == nil || !s.Spec.State.Runs():
		case a.Verb == plan.Create || a.Verb == plan.Restore:
			names = append(names, plan.Whole)
		case a.Verb == plan.Start:
			names = append(names, a.Container)
		}
	}
	if len(names) == 0 {
		return nil
	}
	unfit := d.actuator.Unfit(s, names)
	for _, name := range slices.Sorted(maps.Keys(unfit)) {
		what := "it"
		if name != plan.Whole {
			what = fmt.Sprintf("container %q", name)
		}
		notes = append(notes, fmt.Sprintf("%s: %s could not be started as things are: %s", s.Name, what, unfit[name]))
	}
	return notes
}

// isHalfway says whether something is between two states, as it is while an action
// is carried out.
func isHalfway(o observed.Sandbox) bool {
	return o.Record != nil && (o.Record.State == observed.SandboxCreating || o.Record.State == observed.SandboxStopping) ||
		slices.ContainsFunc(o.Containers, func(c observed.Container) bool { return c.State == observed.Creating && c.Exit == nil })
}

// guardNotes says what the deletion guard would hold if set came after now.
func (d *daemon) guardNotes(now map[string]*desired.Sandbox, set *desired.Set) []string {
	var gone []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if set.Sandboxes[name] == nil && set.Hold(name) == "" {
			gone = append(gone, name)
		}
	}
	if !desired.GuardHolds(d.c.DeletionGuard, len(gone), len(now)) {
		return nil
	}
	return []string{fmt.Sprintf("the deletion guard would hold the removal of %d of %d sandboxes (%s) until \"sandboxer confirm-deletions\" is run",
		len(gone), len(now), strings.Join(gone, ", "))}
}

// anewNotes says what comes after the ends that a change leads to: a plan holds
// the next step of each container.
func anewNotes(s *desired.Sandbox, actions []plan.Action) (notes []string) {
	if s == nil || s.Spec.State != desired.Running && s.Spec.State != desired.Paused {
		return nil
	}
	whole := false
	for _, a := range actions {
		ends := a.Verb == plan.Signal || a.Verb == plan.PreStop || a.Verb == plan.Kill || a.Verb == plan.Stop
		is := func(c desired.Container) bool { return c.Name == a.Container }
		switch {
		case !ends:
		case a.Class == string(desired.ClassSandbox):
			whole = true
		case a.Class == string(desired.ClassContainer) && slices.ContainsFunc(slices.Concat(s.Spec.InitContainers, s.Spec.Containers), is):
			notes = append(notes, fmt.Sprintf("%s/%s: it is started again once it has ended", s.Name, a.Container))
		}
	}
	if whole {
		notes = append(notes, s.Name+": it is made anew once its containers have ended")
	}
	return notes
}

// standingNotes says how a sandbox stands that nothing is due for, where that is
// not as declared: it waits for a time, or has ended for good.
func standingNotes(s api.Sandbox) []string {
	if st := s.Status; (st.Phase == api.Pending || st.Phase == api.Failed) && st.Message != "" {
		return []string{fmt.Sprintf("%s: %s: %s", s.Name, st.Phase, st.Message)}
	}
	return nil
}
