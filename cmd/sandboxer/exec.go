package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sandboxer/internal/api"
)

// execOptions are the flags of exec.
type execOptions struct {
	container   string
	interactive bool
	terminal    bool
	user        string
	dir         string
	env         []string
}

func (c *cli) execCommand() *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec NAME[/CONTAINER] [--] COMMAND [ARGUMENT...]",
		Short: "Run a command in a running container",
		Long: `Runs a command in a running container and ends with its exit code, or with
128 + N where signal N ended it; with 127 where there is no such command, and
with 126 where it can't be executed.

The command reads and writes without the daemon in between, and goes on while
the daemon is restarted. Signals are passed on to it; if this program is killed,
the command gets SIGHUP. With --tty it has a terminal of its own, which follows
the size of yours.`,
		Example: "  sandboxer exec web -- /bin/app --version\n  sandboxer exec -it web/app -- /bin/sh\n" +
			"  sandboxer exec -i db --user 70:70 --env PGOPTIONS=-e -- psql <dump.sql",
		ValidArgsFunction: c.completeExec,
		RunE: func(cmd *cobra.Command, list []string) error {
			command, err := commandOf(cmd, list)
			if err != nil || command == nil {
				return err
			}
			req, err := o.request(command)
			if err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			return c.exec(cmd.Context(), client, list[0], o, req)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // the command's own are not ours
	f.StringVarP(&o.container, "container", "c", "", "which container, where there are several; as NAME/CONTAINER")
	f.BoolVarP(&o.interactive, "stdin", "i", false, "let the command read this program's stdin")
	f.BoolVarP(&o.terminal, "tty", "t", false, "give the command a terminal")
	f.StringVarP(&o.user, "user", "u", "", "UID or UID:GID (default: the container's)")
	f.StringVarP(&o.dir, "cwd", "w", "", "working directory (default: the container's)")
	f.StringArrayVarP(&o.env, "env", "e", nil, "NAME=VALUE over the container's environment; can be given more than once")
	return cmd
}

// commandOf is the command that follows the NAME, with flags before it that are
// exec's: all that follow its first word are its own.
func commandOf(cmd *cobra.Command, list []string) (command []string, err error) {
	if len(list) > 0 {
		if err := cmd.Flags().Parse(list[1:]); err != nil {
			return nil, usagef("%w; what belongs to the command comes after its first word", err)
		}
		if help := cmd.Flags().Lookup("help"); help != nil && help.Changed {
			return nil, cmd.Help()
		}
		command = cmd.Flags().Args()
	}
	if len(command) == 0 {
		return nil, usagef("exec takes a NAME and a command: sandboxer exec NAME -- COMMAND")
	}
	return command, nil
}

// request is what the flags ask for.
func (o *execOptions) request(command []string) (api.ExecRequest, error) {
	r := api.ExecRequest{Command: command, Env: o.env, WorkingDir: o.dir, Terminal: o.terminal}
	for _, v := range o.env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return r, usagef("--env %s: want NAME=VALUE", v)
		}
	}
	if o.dir != "" && !strings.HasPrefix(o.dir, "/") {
		return r, usagef("--cwd %s is relative: it must start with /", o.dir)
	}
	if term := os.Getenv("TERM"); o.terminal && term != "" {
		r.Env = append([]string{"TERM=" + term}, r.Env...)
	}
	if o.user == "" {
		return r, nil
	}
	uid, gid, both := strings.Cut(o.user, ":")
	if !both {
		gid = "0"
	}
	u, err := strconv.ParseUint(uid, 10, 32)
	g, err2 := strconv.ParseUint(gid, 10, 32)
	if err != nil || err2 != nil || max(u, g) == math.MaxUint32 {
		return r, usagef("--user %s: want numbers, UID or UID:GID", o.user)
	}
	r.User = &api.ExecUser{UID: uint32(u), GID: uint32(g)}
	return r, nil
}

// exec runs the command and ends as it does.
func (c *cli) exec(ctx context.Context, client *api.Client, name string, o execOptions, req api.ExecRequest) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	signals := forward(giveUp)
	// A reader that leaves ends nothing but what is written to it.
	signal.Ignore(unix.SIGPIPE)
	open := pipes
	if o.terminal {
		open = terminalPair
	}
	std, err := open(o.interactive)
	if err != nil {
		return err
	}
	defer std.close()
	if err := std.blocking(); err != nil {
		return err
	}
	sandbox, container, _ := strings.Cut(name, "/")
	if container, err = oneContainer(container, o.container); err != nil {
		return err
	}
	<-signals.taken // the command may have something to say of them at once
	session, err := client.Exec(ctx, sandbox, container, req, std.give)
	if errors.Is(err, api.ErrNotFound) {
		var t target
		if t, err = lookUpWhole(ctx, client, name); err == nil {
			sandbox = t.sandbox.Name
			container, err = oneContainer(t.container, o.container)
		}
		if err == nil {
			session, err = client.Exec(ctx, sandbox, container, req, std.give)
		}
	}
	var refused *api.Error
	if errors.As(err, &refused) && refused.ExitCode != 0 {
		std.close() // before anything is said
		c.say("sandboxer: %v", err)
		return exitCode(refused.ExitCode)
	}
	if by, ok := interruption(ctx); ok && err != nil {
		std.close() // before anything is said
		c.say("sandboxer: %v", by)
		return by.code()
	}
	if err != nil {
		return err
	}
	defer session.Close()
	std.given()
	send := func(sig unix.Signal) {
		sendSignal(ctx, client, sandbox, nameOf(session.ContainerID), api.KillRequest{Signal: strconv.Itoa(int(sig)),
			ContainerID: session.ContainerID, PID: session.PID, Foreground: o.terminal})
	}
	signals.to(func(sig unix.Signal) {
		if sig != unix.SIGWINCH || std.resize() {
			send(sig)
		}
	})
	std.start(send)
	status, err := session.Wait()
	std.finish()
	std.close() // before anything is said
	if errors.Is(err, api.ErrSandboxEnded) {
		c.say("sandboxer: sandbox %q ended, and the command with it", sandbox)
		return exitCode(128 + int(unix.SIGKILL))
	}
	if err != nil {
		return fmt.Errorf("the command was started, but nobody can tell how it ended: %w", err)
	}
	if status.Signaled() {
		return exitCode(128 + int(status.Signal()))
	}
	return exitCode(status.ExitStatus())
}

// nameOf is the container's name in an instance's ID, SANDBOX.NAME.ATTEMPT.
func nameOf(id string) string {
	parts := strings.Split(id, ".")
	return parts[len(parts)-2]
}
