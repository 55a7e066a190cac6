package actuator

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"os"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/hostpath"
	"sandboxer/observed"
)

// Foreground is the one container that reads and writes files of the caller's
// instead of /dev/null and a log.
type Foreground struct {
	Container string
	// Stdio is where it reads and writes; with Terminal, one end of a terminal
	// three times.
	Stdio    [3]*os.File
	Terminal bool
}

// stdio is what a container reads and writes.
type stdio struct {
	files    [3]*os.File
	terminal bool
	own      []*os.File // of files, what close closes
}

// openStdio makes a container's output pipes, from which its log is made, and
// what else it is to have. Its record says what that is.
func (a *Actuator) openStdio(c *desired.Container, rec *observed.ContainerRecord) (s stdio, err error) {
	stdout, stderr, err := a.c.Logs.Open(rec.Sandbox, c.Name, rec.ID)
	if err != nil {
		return s, err
	}
	s.own = []*os.File{stdout, stderr}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	rec.Terminal, rec.Stdin = false, false
	if f := a.c.Foreground; f != nil && f.Container == c.Name {
		s.files, s.terminal = f.Stdio, f.Terminal
		return s, nil
	}
	if c.Terminal {
		slave, err := a.openTerminal(c, rec)
		if err != nil {
			return s, err
		}
		s.own = append(s.own, slave)
		s.files, s.terminal = [3]*os.File{slave, slave, slave}, true
		rec.Stdin = c.Stdin
		return s, nil
	}
	var stdin *os.File
	if c.Stdin {
		stdin, err = a.c.Logs.OpenInput(rec.Sandbox, c.Name, rec.ID)
	} else {
		stdin, err = os.Open(os.DevNull)
	}
	if err != nil {
		return s, err
	}
	s.own = append(s.own, stdin)
	s.files, rec.Stdin = [3]*os.File{stdin, stdout, stderr}, c.Stdin
	return s, nil
}

// close closes what the sentry has duplicates of by now.
func (s *stdio) close() { closeAll(s.own) }

// writePIDFile writes the sentry's pid where a container asks for it, and notes
// that in its record, sealed: who can write a record must not have files removed
// by that.
func (a *Actuator) writePIDFile(paths hostpath.Resolver, path string, sentry observed.Process, rec *observed.ContainerRecord) error {
	rec.PIDFile = observed.PIDFile{}
	if path == "" {
		return nil
	}
	rec.PIDFile = observed.PIDFile{Path: path, PID: sentry.PID}
	rec.PIDFile.Seal = a.pidFileSeal(rec)
	folder, name, err := paths.Parent(path)
	if err == nil {
		defer folder.Close()
		err = folder.Write(name, fmt.Append(nil, sentry.PID), 0o644)
	}
	if err != nil {
		return fmt.Errorf("pidFile: %w", err)
	}
	return nil
}

func (a *Actuator) pidFileSeal(rec *observed.ContainerRecord) string {
	return a.seal(rec, fmt.Appendf(nil, "pidFile %d %s", rec.PIDFile.PID, rec.PIDFile.Path))
}

// removePIDFile removes the file that an instance's record tells of, unless it is
// somebody else's by now, or was never the instance's: what is not sealed, as an
// earlier version's record is not, must be what is declared now.
func (a *Actuator) removePIDFile(rec observed.ContainerRecord) error {
	f := rec.PIDFile
	if f.Path == "" {
		return nil
	}
	if !hmac.Equal([]byte(f.Seal), []byte(a.pidFileSeal(&rec))) {
		if _, c := a.acceptedOf(rec); c == nil || c.PIDFile != f.Path {
			a.c.Log.Info("a record tells of a pid file that no manifest that was accepted does; it is let alone",
				"sandbox", rec.Sandbox, "container", rec.Name, "path", f.Path)
			return nil
		}
	}
	folder, name, err := a.paths().Parent(f.Path)
	if err == nil {
		defer folder.Close()
		err = folder.Remove(name, fmt.Append(nil, f.PID))
	}
	if _, silent := errors.AsType[*answers.Silent](err); silent || errors.Is(err, os.ErrNotExist) || errors.Is(err, hostpath.ErrLink) {
		err = nil // it is another file's path by now, or stays: nothing is to wait for its file system
	}
	if err != nil {
		return fmt.Errorf("pidFile: %w", err)
	}
	return nil
}
