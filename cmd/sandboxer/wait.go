package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sandboxer/internal/api"
)

// retryEvery is how long a wait rests before it asks a daemon again that went
// away: one that is restarted is back soon.
const retryEvery = 200 * time.Millisecond

// retryFor is how long it does so.
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
		Use:   "wait NAME[/CONTAINER]",
		Short: "Wait until a sandbox is in a state",
		Long: `Waits until a sandbox is in a state: exit code 0 when it is reached, 1 when
--timeout is over first. A sandbox that is not known yet is waited for.

--for takes "ready" (every container runs and its probes agree), "deleted", or
"exit": until the container, or every container, has ended; its exit code is
printed. It also takes a phase:

  ` + strings.Join(phases(), "\n  ") + `

and a condition:

  ` + strings.Join(conditionTypes(), "\n  ") + `

Left out, it waits for the declared state.`,
		Example: "  sandboxer wait web --timeout 30s\n  sandboxer wait job --for exit\n" +
			"  sandboxer wait web --for Paused --timeout 10s",
		Args:              args(cobra.ExactArgs(1), "one NAME"),
		ValidArgsFunction: c.completeNames,
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
			w := waiter{c: c, client: client, arg: names[0], goal: goal, progress: terminal(c.stderr)}
			return w.run(cmd.Context(), timeout)
		},
	}
	cmd.Flags().StringVar(&what, "for", "", "what to wait for (default: the declared state)")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long at most; 0: for ever")
	return cmd
}

// phases are all that a sandbox can be in.
func phases() (names []string) {
	for _, p := range []api.Phase{api.Pending, api.Created, api.Running, api.Paused, api.Stopped, api.Suspended,
		api.Succeeded, api.Failed, api.Terminating, api.Invalid} {
		names = append(names, string(p))
	}
	return names
}

// parseGoal gives the goal in its own spelling; empty: the declared state.
func parseGoal(s string) (string, error) {
	goals := slices.Concat([]string{forExit, forReady, forDeleted}, phases(), conditionTypes())
	for _, g := range goals {
		if s == "" || strings.EqualFold(s, g) {
			if s == "" {
				g = ""
			}
			return g, nil
		}
	}
	return "", usagef("--for %s: want one of %s", s, strings.Join(goals, ", "))
}

// waiter is one wait.
type waiter struct {
	c        *cli
	client   *api.Client
	arg      string
	goal     string
	progress bool

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
	list, err := w.client.List(ctx)
	if err == nil {
		err = w.aim(list.Items)
	}
	var lost time.Time // since when the daemon does not answer
	for err == nil {
		err = w.client.Watch(ctx, w.name, func(ch api.Change) error {
			lost = time.Time{}
			return w.see(ch)
		})
		if ctx.Err() != nil || !away(err) {
			break
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > retryFor {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
			err = nil
		}
	}
	switch {
	case errors.Is(err, errReached):
		return nil
	case errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded):
		return fmt.Errorf("%s did not reach %s within %s: %s", w.arg, w.target(), timeout, w.last)
	}
	return err
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
	fmt.Fprintf(w.c.stderr, "There is no sandbox %q yet; waiting for it.\n", w.name)
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
		fmt.Fprintf(w.c.stderr, "%s: %s\n", w.name, strings.TrimPrefix(last, "it is "))
	}
	w.last = last
	if w.ends == nil {
		w.ends = map[string]string{}
		for _, c := range s.All() {
			w.ends[c.Name] = lastEnd(c)
		}
	}
	switch w.goal {
	case "":
		if string(s.Phase) != ch.DesiredState && !(s.Phase == api.Succeeded && ch.DesiredState == string(api.Running)) {
			return nil
		}
	case forDeleted:
		return nil
	case forReady:
		if !s.Ready {
			return nil
		}
	case forExit:
		if w.container != "" {
			return w.exited(s.All())
		}
		return w.exited(s.Containers)
	default:
		held := string(s.Phase) == w.goal
		for _, c := range s.Conditions {
			held = held || c.Type == w.goal
		}
		if !held {
			return nil
		}
	}
	return errReached
}

// exited prints the exit codes once all that are waited for have ended. One
// that runs again has ended too.
func (w *waiter) exited(list []api.Container) error {
	var lines []string
	for _, c := range list {
		if w.container != "" && c.Name != w.container {
			continue
		}
		exit := c.ExitCode
		switch end := lastEnd(c); {
		case c.State == "stopped" && c.FinishedAt != nil:
		case end != "" && end != w.ends[c.Name]:
			exit = c.LastExit.ExitCode
		default:
			return nil
		}
		code := "unknown"
		if exit != nil {
			code = fmt.Sprint(*exit)
		}
		lines = append(lines, c.Name+" "+code)
	}
	if len(lines) == 0 {
		return nil
	}
	if len(lines) == 1 {
		_, lines[0], _ = strings.Cut(lines[0], " ")
	}
	if _, err := fmt.Fprintln(w.c.stdout, strings.Join(lines, "\n")); err != nil {
		return err
	}
	return errReached
}

// lastEnd tells the end before the present run from others; empty: there is
// none. IDs alone can come again where records were lost.
func lastEnd(c api.Container) string {
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
