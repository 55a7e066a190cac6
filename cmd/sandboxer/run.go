package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sandboxer/desired"
	"sandboxer/internal/answers"
)

// runOptions are the flags of run.
type runOptions struct {
	interactive  bool
	terminal     bool
	stateDir     string
	dataDir      string
	config       string
	cgroupParent string
	logLevel     string
}

func (c *cli) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run one manifest's sandbox in the foreground, without a daemon",
		Long: `Runs the sandbox that a file declares, in the foreground and without a daemon,
until its first container has ended, and ends with that one's exit code, or with
128 + N where signal N ended it.

The first container writes where this program does; with --stdin, or if it is
declared with stdin: true, it reads there too, and with --tty or terminal: true
it has a terminal. Signals are passed on to it. It is run once, whatever its
restartPolicy is. The other containers follow theirs, and are asked to end, with
their grace period, when the first has ended; another signal then kills them.
An init container that fails ends the run with 1; what it wrote last is shown.

Nothing is left of the sandbox: no process, cgroup, mount, log or directory,
also when this program is killed. The file is read once; - is stdin.`,
		Example: "  sandboxer run job.yaml >result.txt\n  sandboxer run -it shell.yaml\n" +
			"  tar c . | sandboxer run -i build.yaml | tar x -C out",
		Args:              args(cobra.ExactArgs(1), "one FILE"),
		ValidArgsFunction: completeManifest,
		RunE: func(cmd *cobra.Command, list []string) error {
			if !filepath.IsAbs(o.cgroupParent) {
				return usagef("--cgroup-parent %s: want a path such as /, below each hierarchy's mount point", o.cgroupParent)
			}
			if err := oneOf("log-level", o.logLevel, "debug", "info", "warn", "error"); err != nil {
				return err
			}
			c.noteConfig(cmd, o.config)
			sandbox, err := readOne(list[0])
			if err != nil {
				return err
			}
			if list[0] == stdinName && (o.interactive || sandbox.Spec.Containers[0].Stdin) {
				return usagef("the first container can't read stdin where FILE is -")
			}
			return c.foreground(cmd.Context(), sandbox, o)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.interactive, "stdin", "i", false, "let the first container read this program's stdin")
	f.BoolVarP(&o.terminal, "tty", "t", false, "give the first container a terminal")
	f.StringVar(&o.stateDir, "state-dir", "/run/sandboxer-run", "where records of each run are kept while it lasts")
	f.StringVar(&o.dataDir, "data-dir", "/var/lib/sandboxer-run", "where the volumes of each run are kept while it lasts")
	f.StringVar(&o.config, "config", "/etc/sandboxer/config.yaml", "settings; may be missing")
	f.StringVar(&o.cgroupParent, "cgroup-parent", "/", "where the cgroup of each run is made")
	f.StringVar(&o.logLevel, "log-level", "error", "what to say on stderr of what is done: debug, info, warn or error")
	return cmd
}

// self is this program, whatever has become of its file.
const self = "/proc/self/exe"

// readAnswering is os.ReadFile for a file that is given up if its file system does
// not answer; of stdin it is all.
func readAnswering(path string) ([]byte, error) {
	if path == stdinName {
		return io.ReadAll(io.LimitReader(os.Stdin, desired.MaxFileSize+1))
	}
	asked := answers.New(self, nil)
	defer asked.Close()
	if err := asked.Check(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// readOne reads a file that declares one sandbox, to be run once.
func readOne(path string) (*desired.Sandbox, error) {
	b, err := readAnswering(path)
	if err != nil {
		return nil, err
	}
	docs := desired.Decode(path, b)
	var errs []error
	for _, d := range docs {
		for _, p := range d.Problems {
			errs = append(errs, errors.New(p.String()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%s holds %d documents: run takes a file with one; a daemon takes any number", path, len(docs))
	}
	s := docs[0].Sandbox
	if s.Spec.State != desired.Running {
		return nil, fmt.Errorf("%s declares the state %s: run takes a sandbox that is declared Running", path, s.Spec.State)
	}
	if len(s.Spec.DependsOn) > 0 {
		return nil, fmt.Errorf("%s: spec.dependsOn: run knows no other sandboxes: leave it out, or declare it to a daemon", path)
	}
	main := &s.Spec.Containers[0]
	if main.ConsoleSocket != "" {
		return nil, fmt.Errorf("%s: spec.containers[0].consoleSocket: run gives the first container a terminal of its own: leave it out", path)
	}
	main.RestartPolicy = desired.Never
	return s, nil
}
