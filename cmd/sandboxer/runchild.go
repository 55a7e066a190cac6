//go:build !client

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"sandboxer/actuator"
	"sandboxer/internal/answers"
	"sandboxer/internal/api"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/claims"
	"sandboxer/internal/daemon"
)

// runMain is the daemon of a run in a directory; see startRunDaemon. It returns
// the exit status.
func runMain(dir string, clear bool) int {
	blocked := unblockSignals()
	// Who ends all processes of a service ends the one before this too.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	heedNoPipes()
	out := newLossy(os.Stderr)
	defer out.finish()
	unix.CloseOnExec(runReportFD)
	report := json.NewEncoder(os.NewFile(runReportFD, "report"))
	err := blocked
	if err == nil {
		err = runInBackground(dir, clear, report, out)
	}
	if err == nil {
		return exitDone
	}
	// Who is to read it may be gone.
	_ = report.Encode(runReport{Error: err.Error()})
	return exitFailed
}

func runInBackground(dir string, clear bool, report *json.Encoder, out io.Writer) error {
	b, err := os.ReadFile(filepath.Join(dir, runFile))
	if err != nil {
		return err
	}
	var r runRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return err
	}
	c, err := readConfig(r.Config)
	if err != nil {
		return err
	}
	log := newLog(out, r.LogLevel, "text")
	if err := surround(log); err != nil {
		return err
	}
	cgroups, err := cgroup.Detect()
	if err != nil {
		return err
	}
	if r.Made == nil {
		r.Made = missingAbove(cgroups, r.CgroupParent)
		if b, err = json.Marshal(r); err == nil {
			err = renameio.WriteFile(filepath.Join(dir, runFile), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	f := &daemon.Foreground{
		Seen: func(change api.Change) error {
			_ = report.Encode(runReport{Change: &change}) // who is to read it may be gone
			return nil
		},
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	f.Hurry = listen(os.NewFile(runCallerFD, "caller"), end)
	if clear {
		end()
	} else {
		f.Foreground = actuator.Foreground{Container: r.Container, Terminal: r.Terminal, Stdio: runStdio(r.Terminal)}
	}
	err = daemon.Run(ctx, daemon.Config{
		Manifests:     []string{filepath.Join(dir, runManifests)},
		StateDir:      r.StateDir,
		DataDir:       filepath.Join(dir, runData),
		Resync:        30 * time.Second,
		DeletionGuard: 1,
		CgroupParent:  r.CgroupParent,
		// Whoever runs a file means it.
		AllowUnsafeOwners:      true,
		AllowBundleHooks:       c.AllowBundleHooks,
		ConfigFile:             r.Config,
		Own:                    []string{filepath.Dir(dir), filepath.Dir(r.StateDir)},
		AllowKernelFileSystems: c.AllowKernelFileSystems,
		Foreground:             f,
		MaxLogFile:             c.Logs.MaxSize.Value(),
		MaxLogFiles:            c.Logs.MaxFiles,
		Version:                buildVersion(),
		Log:                    log,
	})
	if errors.Is(err, claims.ErrTaken) && !clear {
		// Nothing was begun.
		return errors.Join(err, os.RemoveAll(r.StateDir), os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("%w; what is left of it is in %s, and the next run tries to remove it", err, dir)
	}
	for _, made := range r.Made {
		if _, err := cgroups.Prune(made); err != nil { // one in use stays
			return err
		}
	}
	asked := answers.New(self, nil)
	defer asked.Close()
	return errors.Join(os.RemoveAll(r.StateDir), claims.Drop(r.StateDir, claims.Host{Answers: asked.Check, Cgroups: cgroups}), os.RemoveAll(dir))
}

// missingAbove are the cgroups above one that are not there, the lowest first;
// never nil.
func missingAbove(cgroups *cgroup.Host, name string) []string {
	missing := []string{}
	for name = path.Dir(name); name != "/"; name = path.Dir(name) {
		if _, err := cgroups.Load(name); errors.Is(err, cgroup.ErrNotFound) {
			missing = append(missing, name)
		}
	}
	return missing
}

// runStdio are the files of the first container.
func runStdio(terminal bool) (stdio [3]*os.File) {
	for i := range stdio {
		if terminal && i > 0 {
			stdio[i] = stdio[0]
		} else {
			stdio[i] = os.NewFile(uintptr(runStdioFD+i), "stdio")
		}
	}
	return stdio
}

// listen calls end when the caller says so, or is gone; then, and when it goes
// later, hurry is closed.
func listen(caller *os.File, end func()) (hurry <-chan struct{}) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for b := make([]byte, 1); ; {
			n, err := caller.Read(b)
			end()
			if n == 0 || err != nil {
				return
			}
		}
	}()
	return gone
}
