package actuator

import (
	"os"

	"sandboxer/desired"
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

// openStdio makes a container's output pipes, from which its log is made.
func (a *Actuator) openStdio(sandbox string, c *desired.Container, id string) (s stdio, err error) {
	stdout, stderr, err := a.c.Logs.Open(sandbox, c.Name, id)
	if err != nil {
		return s, err
	}
	s.own = []*os.File{stdout, stderr}
	if f := a.c.Foreground; f != nil && f.Container == c.Name {
		s.files, s.terminal = f.Stdio, f.Terminal
		return s, nil
	}
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		s.close()
		return s, err
	}
	s.own = append(s.own, stdin)
	s.files = [3]*os.File{stdin, stdout, stderr}
	return s, nil
}

// close closes what the sentry has duplicates of by now.
func (s *stdio) close() { closeAll(s.own) }
