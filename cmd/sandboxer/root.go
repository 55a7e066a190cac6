package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
)

// The exit codes that scripts rely on.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	// exitChanges is of plan --exit-code.
	exitChanges = 3
)

// socketEnv names the API's socket where --socket does not.
const socketEnv = "SANDBOXER_SOCKET"

const (
	defaultState  = "/run/sandboxer"
	defaultSocket = defaultState + "/sandboxer.sock"
)

// cli is what the commands share.
type cli struct {
	stdout, stderr io.Writer
	// runDaemon is the daemon itself: the commands know its options only.
	runDaemon func(context.Context, daemonOptions) error
	socket    string   // of --socket
	line      []string // this command line, without the program's name
}

// usageError says that a command was called wrongly.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errFailed ends a command with exit code 1 after it has said why itself.
var errFailed = errors.New("failed")

// exitCode ends this program as the command ended that it has run.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("the command ended with exit code %d", int(c)) }

// command runs one command line, without the program's name, and returns its
// exit code.
func command(args []string, c cli) int {
	c.line = args
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if cmd == root && err != nil && len(args) > 0 {
		err = cmp.Or(otherWord(args[0]), err) // its flags are none of ours either
	}
	var usage usageError
	var code exitCode
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &usage):
		c.say("sandboxer: %v\nRun \"%s --help\" for how it is used.", err, cmd.CommandPath())
		return exitUsage
	}
	c.say("sandboxer: %v", err)
	return exitFailed
}

const about = `sandboxer keeps gVisor sandboxes on this host as files declare them.

  1. Start the daemon:         sandboxer daemon --manifests /etc/sandboxer.d
  2. Put a manifest there:     sandboxer schema says what one may hold
  3. Check it before:          sandboxer validate FILE; sandboxer plan FILE
  4. See what runs:            sandboxer get; sandboxer describe NAME
  5. See what it says and why: sandboxer logs NAME; sandboxer events
  6. Change or remove the file, and the sandbox follows.

"sandboxer --help" lists all commands, "sandboxer COMMAND --help" explains one.
`

// What is done in its stead by words that others' command lines have.
const (
	byManifest = "put a manifest into the daemon's directory (\"sandboxer validate\" and \"plan\" check it before)"
	byRemoval  = "remove the manifest, or its document, from the daemon's directory"
	byExec     = "\"sandboxer exec -it NAME -- /bin/sh\" runs a shell in a container, if it has one"
	noImages   = "images are not supported: a container names a root directory or an OCI bundle"
	byState    = "write state: %s into the manifest, and the sandbox follows"
)

var instead = map[string]string{
	"apply": byManifest, "create": byManifest, "up": byManifest, "add": byManifest, "launch": byManifest,
	"delete": byRemoval, "rm": byRemoval, "remove": byRemoval, "down": byRemoval, "destroy": byRemoval, "prune": byRemoval,
	"stop": fmt.Sprintf(byState, "Stopped"), "start": fmt.Sprintf(byState, "Running"),
	"pause": fmt.Sprintf(byState, "Paused"), "unpause": fmt.Sprintf(byState, "Running"), "resume": fmt.Sprintf(byState, "Running"),
	"suspend": fmt.Sprintf(byState, "Suspended"), "restore": "write state: Running, or restoreFrom, into the manifest",
	"update": "edit the manifest, and the sandbox follows", "edit": "edit the manifest, and the sandbox follows", "set": "edit the manifest, and the sandbox follows",
	"top": "\"sandboxer stats\" shows what is used, \"sandboxer ps\" the processes", "inspect": "\"sandboxer describe NAME\" shows everything",
	"state": "\"sandboxer get NAME\" shows it", "info": "\"sandboxer version\" and \"sandboxer get\" show what there is",
	"signal": "\"sandboxer kill NAME SIGNAL\" sends one", "diff": "\"sandboxer plan\" shows what would change",
	"shell": byExec, "sh": byExec, "bash": byExec, "ssh": byExec, "enter": byExec,
	"cp":      "\"sandboxer exec NAME -- tar c DIR | tar x\" copies out of a container, \"tar c DIR | sandboxer exec -i NAME -- tar x\" into it",
	"explain": "\"sandboxer schema\" says what a manifest may hold", "rollout": "\"sandboxer restart NAME\" starts containers anew",
	"build": noImages, "push": noImages, "load": noImages,
	"lint": "\"sandboxer validate PATH\" checks manifests", "check": "\"sandboxer validate PATH\" checks manifests",
	"pull": noImages, "images": noImages,
}

// otherWord is what is wrong with such a word; nil where it is none.
func otherWord(word string) error {
	if what := instead[word]; what != "" {
		return usagef("there is no command %q: %s", word, what)
	}
	return nil
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:     "sandboxer",
		Short:   "Keeps gVisor sandboxes as files declare them",
		Long:    strings.TrimSuffix(about, "\n"),
		Example: "  sandboxer get\n  sandboxer logs web --follow",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if err := otherWord(args[0]); err != nil {
				return err
			}
			msg := fmt.Sprintf("there is no command %q", args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				msg += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usagef("%s", msg)
		},
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(c.stdout, about)
			return err
		},
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.Version = buildVersion().Version
	root.SetVersionTemplate("sandboxer {{.Version}}\n")
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVar(&c.socket, "socket", "",
		"the daemon's socket (default $"+socketEnv+", else "+defaultSocket+"; of the daemon itself sandboxer.sock in its --state-dir)")
	root.AddCommand(c.daemonCommand(), c.getCommand(), c.describeCommand(), c.eventsCommand(), c.logsCommand(),
		c.waitCommand(), c.execCommand(), c.killCommand(), c.psCommand(), c.statsCommand(), c.validateCommand(), c.planCommand(), c.restartCommand(),
		c.attachCommand(), c.runCommand(), c.checkpointCommand(), c.confirmCommand(), c.schemaCommand(),
		c.debugCommand(), c.versionCommand(), c.completionCommand())
	c.checkHelp(root)
	c.completions(root)
	return root
}

// checkHelp has "help" refuse what is no command, as the command itself would be.
func (c *cli) checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "help" {
			continue
		}
		cmd.Run = nil
		cmd.RunE = func(_ *cobra.Command, words []string) error {
			topic, rest, err := root.Find(words)
			if err != nil || len(rest) > 0 {
				if other := otherWord(words[0]); other != nil {
					return other
				}
				return fmt.Errorf("there is no command %q: \"sandboxer --help\" lists them", strings.Join(words, " "))
			}
			return topic.Help()
		}
	}
}

// args makes wrong numbers of arguments wrong usage.
func args(check cobra.PositionalArgs, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if check(cmd, list) != nil {
			return usagef("%s takes %s, not %d arguments", cmd.Name(), what, len(list))
		}
		return nil
	}
}

// client returns a client of the daemon that is meant.
func (c *cli) client() *api.Client {
	socket := c.socket
	if socket == "" {
		socket = os.Getenv(socketEnv)
	}
	if socket == "" {
		socket = defaultSocket
	}
	return api.NewClient(socket)
}

// oneOf refuses a flag's value that is none of those that it can have.
func oneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return usagef("--%s %s: want %s", flag, value, strings.Join(allowed, ", "))
}
