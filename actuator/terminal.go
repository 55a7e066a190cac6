package actuator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/gofer"
	"sandboxer/internal/pty"
	"sandboxer/observed"
)

// terminal is a container's, as long as this daemon has it. The keeper has a
// duplicate of the master: while somebody holds one the terminal does not hang
// up.
type terminal struct {
	master *os.File
	done   chan struct{} // closed when no more is carried to the log
}

// openTerminal makes a container's terminal, and returns the container's end.
// The other one goes to the socket that is declared for it, or stays here.
func (a *Actuator) openTerminal(c *desired.Container, rec *observed.ContainerRecord) (*os.File, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("making a terminal: %w", err)
	}
	err = unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	switch {
	case err != nil:
		master.Close()
	case c.ConsoleSocket != "":
		err = a.sendMaster(c.ConsoleSocket, master)
		master.Close()
	default:
		rec.Terminal = true
		err = a.carryTerminal(*rec, master)
	}
	if err != nil {
		slave.Close()
		return nil, err
	}
	return slave, nil
}

// consoleTime is how long a console socket may take.
const consoleTime = 5 * time.Second

// sendMaster sends a terminal's master to a socket, as OCI runtimes do. It must not
// be where a container can write: that could listen there, and have the terminal of
// another sandbox.
func (a *Actuator) sendMaster(path string, master *os.File) error {
	f, err := a.paths().Open(path)
	if err != nil {
		return fmt.Errorf("consoleSocket: %w", err)
	}
	defer f.Close()
	all, err := a.writers()
	if err == nil {
		err = all.Refusal(f.File, f.Real)
	}
	if err != nil {
		return fmt.Errorf("consoleSocket: %w", err)
	}
	conn, err := net.DialTimeout("unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()), consoleTime)
	if err != nil {
		return fmt.Errorf("consoleSocket: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(consoleTime))
	// Whoever gets it is to find it as it would be from another runtime.
	err = unix.SetNonblock(int(master.Fd()), false)
	if err == nil {
		_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte("pty-master"), unix.UnixRights(int(master.Fd())), nil)
	}
	if err != nil {
		return fmt.Errorf("consoleSocket %s: %w", path, err)
	}
	return nil
}

// carryTerminal has a terminal's output go where a container's stdout goes,
// and keeps the master for who attaches.
func (a *Actuator) carryTerminal(rec observed.ContainerRecord, master *os.File) error {
	out, err := a.c.Logs.Writer(rec.Sandbox, rec.Name, rec.ID)
	if err != nil {
		master.Close()
		return err
	}
	t := &terminal{master: master, done: make(chan struct{})}
	a.mu.Lock()
	old := a.terminals[rec.ID]
	a.terminals[rec.ID] = t
	a.mu.Unlock()
	if old != nil {
		old.close() // of a half-made instance
	}
	go func() {
		defer close(t.done)
		defer out.Close()
		_, _ = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{master}, make([]byte, 16<<10)) // EIO is the end
	}()
	return nil
}

// takeTerminal takes a terminal over from the keeper.
func (a *Actuator) takeTerminal(rec observed.ContainerRecord, mounts int) error {
	a.mu.Lock()
	_, has := a.terminals[rec.ID]
	a.mu.Unlock()
	if has || !rec.Terminal {
		return nil
	}
	master, err := gofer.TakeOutput(rec.Keeper, mounts, len(logStreams))
	if errors.Is(err, observed.ErrGone) {
		return nil // and the terminal with it: the container has been told
	}
	if err != nil {
		return err
	}
	return a.carryTerminal(rec, master)
}

// logStreams are those of whose pipes a keeper has ends, before the master.
var logStreams = [...]string{"stdout", "stderr"}

// drainTime is how long the end of a terminal's output is waited for. It is
// there at once, unless somebody else still has the container's end.
const drainTime = time.Second

// endTerminal lets go of a container's terminal once its output is carried.
func (a *Actuator) endTerminal(id string) {
	a.mu.Lock()
	t := a.terminals[id]
	delete(a.terminals, id)
	a.mu.Unlock()
	if t == nil {
		return
	}
	select {
	case <-t.done:
	case <-time.After(drainTime):
	}
	t.close()
}

// close stops carrying. What is not read yet is for who holds the master still.
func (t *terminal) close() {
	_ = t.master.SetReadDeadline(time.Unix(1, 0))
	<-t.done
	t.master.Close()
}
