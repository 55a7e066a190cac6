package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sandboxer/internal/api"
	"sandboxer/reconcile/plan"
)

// retryEvery is how long a wait rests before it asks a daemon again that went
// away: one that is restarted is back soon.
const retryEvery = 200 * time.Millisecond

// retryFor is how long it does so where nobody says how long.
const retryFor = 15 * time.Second

// What can be waited for beside phases and conditions.
const (
	forExit    = "exit"
	forReady   = "ready"
	forDeleted = "deleted"
)

func (c *cli) waitCommand() *cobra.Command {
	var what string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait NAME[/CONTAINER]...",
		Short: "Wait until sandboxes are in a state",
		Long: `Waits until all NAMEs are in a state: exit code 0 when it is reached, 1 when
--timeout is over first, or when it can't be reached unless a manifest is
changed or a restart asked for. A sandbox that is not known yet is waited for,
and so is a daemon that does not answer: without --timeout for 15 s.

--for takes "ready" (every container, or the one that is named, runs and its
probes agree), "deleted", or "exit": until the container, or every container,
has ended; its exit code is printed. It also takes a phase:

  ` + strings.Join(phases(), "\n  ") + `

and a condition:

  ` + strings.Join(conditionTypes(), "\n  ") + `

Left out, it waits for the declared state.`,
		Example: "  sandboxer wait web --timeout 30s\n  sandboxer wait job --for exit\n" +
			"  sandboxer wait web --for Paused --timeout 10s",
		Args:              args(cobra.MinimumNArgs(1), "at least one NAME"),
		ValidArgsFunction: c.completeTargets(0, anyContainer),
		RunE: func(cmd *cobra.Command, names []string) error {
			goal, err := parseGoal(what)
			if err != nil {
				return err
			}
			if timeout < 0 {
				return usagef("--timeout %s: want 0 (for ever) or more", timeout)
			}
			client := c.client()
			defer client.Close()
			return c.waitAll(cmd.Context(), client, names, goal, timeout)
		},
	}
	cmd.Flags().StringVar(&what, "for", "", "what to wait for (default: the declared state)")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long at most; 0: for ever")
	return cmd
}

// waitAll waits for all at once. What can't be reached is said at once, and the
// others are waited for all the same.
func (c *cli) waitAll(ctx context.Context, client *api.Client, names []string, goal string, timeout time.Duration) error {
	slices.Sort(names)
	names = slices.Compact(names)
	ctx, all := context.WithCancelCause(ctx)
	defer all(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	meet := &meeting{missing: map[string]bool{}, all: func() { all(errReached) }}
	for _, name := range names {
		meet.missing[name] = true
	}
	for _, name := range names {
		w := waiter{c: c, client: client, mu: &mu, meet: meet, arg: name, goal: goal, progress: terminal(c.stderr), several: len(names) > 1}
		wg.Go(func() {
			if err := w.run(ctx, timeout); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = c.report([]error{err})
			}
		})
	}
	wg.Wait()
	return failed
}

// meeting is where those that are waited for at once have to be at the same moment.
type meeting struct {
	all func() // called once nobody is missing

	mu      sync.Mutex // guards what follows
	missing map[string]bool
	quiet   bool // that the daemon does not answer was said
}

// stands says that one is there, or is there no more.
func (m *meeting) stands(name string, there bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, counts := m.missing[name]; counts {
		m.missing[name] = !there
	}
	m.close()
}

// leave says that one is not waited for any more.
func (m *meeting) leave(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.missing, name)
	m.close()
}

func (m *meeting) close() {
	for _, missing := range m.missing {
		if missing {
			return
		}
	}
	m.all()
}

// isThere says whether one is where it is waited for.
func (m *meeting) isThere(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	missing, counts := m.missing[name]
	return counts && !missing
}

// first says whether it is the first to ask.
func (m *meeting) first() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	quiet := m.quiet
	m.quiet = true
	return !quiet
}

// phases are all that a sandbox can be in.
func phases() (names []string) {
	for _, p := range []api.Phase{api.Pending, api.Created, api.Running, api.Paused, api.Stopped, api.Suspended,
		api.Succeeded, api.Failed, api.Terminating, api.Invalid} {
		names = append(names, string(p))
	}
	return names
}

// goals are all that can be waited for by name.
func goals() []string {
	return slices.Concat([]string{forExit, forReady, forDeleted}, phases(), conditionTypes())
}

// parseGoal gives the goal in its own spelling; empty: the declared state.
func parseGoal(s string) (string, error) {
	all := goals()
	for _, g := range all {
		if s == "" || strings.EqualFold(s, g) {
			if s == "" {
				g = ""
			}
			return g, nil
		}
	}
	return "", usagef("--for %s: want one of %s", s, strings.Join(all, ", "))
}

// waiter is one wait.
type waiter struct {
	c        *cli
	client   *api.Client
	arg      string
	goal     string
	progress bool
	several  bool        // others are waited for beside it
	mu       *sync.Mutex // guards what is printed
	meet     *meeting    // with those

	name, container string
	found           bool
	ends            map[string]string // each container's last one when the wait began
	last            string            // where it stands
}

// errReached ends a watch.
var errReached = errors.New("reached")

func (w *waiter) run(ctx context.Context, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, os.ErrDeadlineExceeded)
		defer cancel()
	}
	w.last = "the daemon has not answered yet"
	defer w.meet.leave(w.arg)
	patience := time.Duration(math.MaxInt64)
	if timeout == 0 {
		patience = retryFor
	}
	// What was changed before the wait began counts: the daemon is to have seen it.
	var list api.List
	err := outlast(ctx, patience, func() (err error) {
		if list, err = w.client.ListFresh(ctx, sandboxOf(w.arg)); err != nil {
			w.lose(ctx, err)
		}
		return err
	})
	if err == nil {
		err = w.aim(list.Items)
	}
	for err == nil { // until a watch ends otherwise than with the daemon
		err = outlast(ctx, patience, func() error {
			answers := false
			err := w.client.Watch(ctx, w.name, func(ch api.Change) error {
				answers = true
				return w.stand(w.see(ch))
			})
			w.lose(ctx, err)
			if answers && away(err) {
				return nil // and is lost from now on
			}
			return err
		})
	}
	switch {
	case errors.Is(err, errReached), errors.Is(context.Cause(ctx), errReached), ctx.Err() != nil && w.meet.isThere(w.arg):
		return nil
	case errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded):
		return fmt.Errorf("%s did not reach %s within %s: %s", w.arg, w.target(), timeout, w.last)
	}
	return err
}

// stand takes what see returns. Who is where it is waited for goes on until all are,
// but for what has happened for good.
func (w *waiter) stand(err error) error {
	if w.goal == forExit || w.goal == forDeleted {
		return err
	}
	there := errors.Is(err, errReached)
	if there || err == nil {
		w.meet.stands(w.arg, there)
		return nil
	}
	return err
}

// lose takes an error of a daemon that went away: nobody knows how it stands then.
func (w *waiter) lose(ctx context.Context, err error) {
	if ctx.Err() != nil || !away(err) {
		return
	}
	w.meet.stands(w.arg, false)
	w.last = err.Error()
	if w.meet.first() {
		w.say("Waiting for the daemon: %v", err)
	}
}

// persist asks a daemon again that went away while it was asked: one that is
// restarted is back soon.
func persist(ctx context.Context, ask func() error) error {
	err := ask()
	if !errors.Is(err, api.ErrCut) {
		return err
	}
	return outlast(ctx, retryFor, ask)
}

// outlast asks a daemon again as long as it is away, but for no longer than most.
func outlast(ctx context.Context, most time.Duration, ask func() error) error {
	for lost := time.Now(); ; {
		err := ask()
		if ctx.Err() != nil || !away(err) || time.Since(lost) > most {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

// sandboxOf is the name in NAME, NAME/CONTAINER or a container's id.
func sandboxOf(arg string) string {
	name, _, _ := strings.Cut(arg, "/")
	name, _, _ = strings.Cut(name, ".")
	return name
}

// away reports whether an error says that the daemon went away, and not what it
// answered.
func away(err error) bool {
	var answer *api.Error
	if errors.As(err, &answer) {
		return answer.Code == http.StatusServiceUnavailable
	}
	return errors.Is(err, api.ErrCut) || errors.Is(err, os.ErrNotExist) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// aim finds out what is waited for. What is not there yet is waited for by its
// name: one that begins with it is another.
func (w *waiter) aim(items []api.Sandbox) error {
	w.name, w.container, _ = strings.Cut(w.arg, "/")
	w.last = fmt.Sprintf("there is no sandbox %q", w.name)
	_, known := byName(items, w.name)
	t, err := find(items, w.arg)
	if err == nil && (known || strings.Contains(w.arg, ".")) {
		w.name, w.container = t.sandbox.Name, t.container
		w.found = true
		return nil
	}
	if known {
		return err // it has no such container
	}
	if strings.Contains(w.arg, ".") {
		return err // no name: a container's id
	}
	if w.goal == forDeleted {
		return errReached
	}
	w.say("There is no sandbox %q yet; waiting for it.", w.name)
	return nil
}

// see takes one change and returns errReached when it is the one.
func (w *waiter) see(ch api.Change) error {
	if ch.Deleted {
		switch {
		case w.goal == forDeleted, w.goal == forExit && w.found:
			return errReached
		case w.found:
			return fmt.Errorf("%s was removed while waiting for %s", w.name, w.target())
		}
		return nil // it is not there yet
	}
	w.found = true
	s := ch.Status
	last := "it is " + string(s.Phase)
	if s.Reason != "" {
		last += " (" + strings.TrimSuffix(s.Reason+": "+s.Message, ": ") + ")"
	}
	if w.progress && last != w.last {
		w.say("%s: %s", w.name, strings.TrimPrefix(last, "it is "))
	}
	w.last = last
	if w.ends == nil {
		w.ends = map[string]string{}
		for _, c := range s.All() {
			w.ends[c.Name] = endOf(c)
		}
	}
	reached, err := w.reached(ch)
	switch {
	case err != nil:
		return err
	case reached:
		return errReached
	}
	if why := w.never(ch); why != "" {
		return fmt.Errorf("%s will not reach %s without a change: %s", w.arg, w.target(), why)
	}
	return nil
}

// reached says whether a sandbox is what it is waited for to be.
func (w *waiter) reached(ch api.Change) (bool, error) {
	s := ch.Status
	switch w.goal {
	case "":
		return (string(s.Phase) == ch.DesiredState || s.Phase == api.Succeeded && ch.DesiredState == string(api.Running)) &&
			condition(s, api.ManifestRejected) == nil && condition(s, plan.StartBlocked) == nil, nil
	case forDeleted:
		return false, nil
	case forReady:
		if condition(s, api.ManifestRejected) != nil || condition(s, plan.StartBlocked) != nil {
			return false, nil // what is ready is not what the files say
		}
		if w.container != "" {
			c := containerOf(ch.Sandbox, w.container)
			return c.Ready && c.State != "paused" && condition(s, api.RuntimeUnreachable) == nil, nil
		}
		return s.Ready, nil
	case forExit:
		if w.container != "" {
			return w.exited(s.All())
		}
		return w.exited(s.Containers)
	}
	return string(s.Phase) == w.goal || condition(s, w.goal) != nil, nil
}

func condition(s api.Status, typ string) *api.Condition {
	if i := slices.IndexFunc(s.Conditions, func(c api.Condition) bool { return c.Type == typ }); i >= 0 {
		return &s.Conditions[i]
	}
	return nil
}

// never says why a sandbox that is not what it is waited for to be can't become
// that until somebody declares or asks for something else; "": it may. What a
// removal leads to is waited for, and so are conditions, what other sandboxes
// have to do, and what is tried again.
func (w *waiter) never(ch api.Change) string {
	s := ch.Status
	declared := api.Phase(ch.DesiredState)
	switch w.goal {
	case "", forReady, forExit, string(api.Created), string(api.Running), string(api.Paused), string(api.Stopped),
		string(api.Suspended), string(api.Succeeded), string(api.Failed):
	default:
		return ""
	}
	if c := condition(s, api.ManifestRejected); c != nil && (w.goal == "" || w.goal == forReady) {
		return "what it is declared by was rejected: " + c.Message
	}
	if c := condition(s, plan.StartBlocked); c != nil && (w.goal == "" || w.goal == forReady) {
		return c.Message
	}
	if s.Phase == api.Invalid {
		return "it is Invalid: " + s.Message
	}
	if c := condition(s, api.Unsupported); c != nil && (w.goal == "" || w.goal == ch.DesiredState) {
		return c.Message
	}
	if declared == api.Running || declared == api.Paused {
		if why := w.ended(s); why != "" {
			return why
		}
	}
	if w.goal == "" || declared == "" || s.Phase != declared {
		return "" // it is on its way
	}
	if states := []api.Phase{api.Created, api.Paused, api.Stopped, api.Suspended}; declared == api.Running && !slices.Contains(states, api.Phase(w.goal)) {
		return ""
	}
	return "it is declared " + ch.DesiredState
}

// ended says of containers that have ended for good, and are in the way of what
// is waited for, how they did.
func (w *waiter) ended(s api.Status) string {
	list, all := s.Containers, s.All()
	if w.container != "" && w.goal == forReady { // its siblings are in nobody's way
		list = slices.DeleteFunc(slices.Clone(all), func(c api.Container) bool { return c.Name != w.container })
		all = list
	}
	failed, over := false, len(list) > 0
	for _, c := range list {
		over = over && c.Final
	}
	var texts []string
	for _, c := range all {
		if !c.Final || c.FinishedAt == nil {
			continue
		}
		how := "with an exit code that nobody can tell"
		if c.ExitCode != nil {
			how = fmt.Sprintf("with exit code %d", *c.ExitCode)
		}
		failed = failed || c.ExitCode == nil || *c.ExitCode != 0
		text := fmt.Sprintf("container %q ended %s", c.Name, how)
		switch c.Reason {
		case "", "Completed", "Error":
		case "StartError":
			text = fmt.Sprintf("container %q can't be started: %s", c.Name, c.Message)
		default:
			text += fmt.Sprintf(" (%s)", c.Reason)
		}
		texts = append(texts, text)
	}
	if !over && !(failed && (w.goal == forReady || w.goal == string(api.Succeeded))) {
		return ""
	}
	return strings.TrimPrefix(strings.Join(texts, ", ")+", for good", ", ")
}

// exited prints the exit codes once all that are waited for have ended. One
// that runs again has ended too.
func (w *waiter) exited(list []api.Container) (bool, error) {
	var lines []string
	for _, c := range list {
		if w.container != "" && c.Name != w.container {
			continue
		}
		exit := c.ExitCode
		switch end := endOf(c); {
		case c.State == "stopped" && c.FinishedAt != nil:
		case end != "" && end != w.ends[c.Name]:
			exit = c.LastExit.ExitCode
		default:
			return false, nil
		}
		code := "unknown"
		if exit != nil {
			code = fmt.Sprint(*exit)
		}
		lines = append(lines, c.Name+" "+code)
	}
	if len(lines) == 0 {
		return false, nil
	}
	switch {
	case w.several:
		for i := range lines {
			lines[i] = w.name + "/" + lines[i]
		}
	case len(lines) == 1:
		_, lines[0], _ = strings.Cut(lines[0], " ")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := fmt.Fprintln(w.c.stdout, strings.Join(lines, "\n")); err != nil {
		return false, err
	}
	return true, nil
}

// say is cli.say for who is not alone.
func (w *waiter) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.c.say(format, args...)
}

// endOf tells the end before the present run from others; empty: there is
// none. IDs alone can come again where records were lost.
func endOf(c api.Container) string {
	if c.LastExit == nil {
		return ""
	}
	return fmt.Sprint(c.LastExit.ID, " ", c.LastExit.FinishedAt)
}

func (w *waiter) target() string {
	if w.goal == "" {
		return "its declared state"
	}
	return w.goal
}

// terminal reports whether w is one.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
