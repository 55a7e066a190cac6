package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/claims"
	"sandboxer/internal/events"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
)

// listen binds the API's socket so that who has a grant can reach it.
func (d *daemon) listen() (net.Listener, error) {
	if err := d.c.followed(); err != nil { // also while it runs
		return nil, err
	}
	if err := os.MkdirAll(d.c.StateDir, 0o700); err != nil {
		return nil, err
	}
	if len(d.c.Access) > 0 && filepath.Dir(d.c.Socket) == d.c.StateDir {
		// What is in there beside the socket can be opened by root alone.
		if err := os.Chmod(d.c.StateDir, 0o711); err != nil {
			return nil, err
		}
	}
	l, err := api.ListenOver(d.c.Socket, d.c.Access, d.isStranger(onlyPath(d.answers.Scan(scanPatience))))
	return l, d.c.inTheFolder(err)
}

// mostListens is how often a socket is made that a container takes away before it is
// covered.
const mostListens = 10

// listenCovered listens, and has the socket be out of all containers' reach: it is another
// one than the last daemon's, which was covered.
func (d *daemon) listenCovered(ctx context.Context) (net.Listener, error) {
	for range mostListens {
		l, err := d.listen()
		if err != nil {
			return nil, err
		}
		things, err := d.things(d.answers.Check)
		if err == nil {
			d.own.set(things)
			err = claims.Write(d.claim())
		}
		if err != nil {
			return nil, fmt.Errorf("keeping the daemon's own from containers: %w", errors.Join(err, l.Close()))
		}
		d.coverLater(ctx)
		if api.Placed(l) {
			return l, nil
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	return nil, d.c.inTheFolder(fmt.Errorf("the API's socket %s: somebody puts another one in its place", d.c.Socket))
}

// isStranger is what says whether a process that listens at the socket's path is no
// daemon, but a sandbox's, which has bound it first. 0: nobody knows which it is.
func (d *daemon) isStranger(check func(path string) error) func(pid int) bool {
	return func(pid int) bool {
		socket, err := filepath.Abs(d.c.Socket)
		if err != nil {
			return false
		}
		daemons, err := claims.All(claims.Host{Answers: check, Cgroups: d.cgroups})
		if err != nil {
			return false
		}
		isSocket := func(t shelf.Thing) bool { return t.What == socketThing && t.Path == socket }
		for _, c := range daemons {
			if c.StateDir != d.c.StateDir && slices.ContainsFunc(c.Things, isSocket) && claims.Lives(c) {
				return false
			}
		}
		cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if pid == 0 || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			// A gofer that has bound it and was replaced, or who answers nobody: a daemon
			// does neither.
			return planted(socket)
		}
		return err == nil && inAny(string(cgroups), daemons)
	}
}

// inAny says whether a process is in a cgroup of some daemon's sandboxes.
func inAny(cgroups string, daemons []claims.Claim) bool {
	for line := range strings.Lines(cgroups) {
		_, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "/")
		if slices.ContainsFunc(daemons, func(c claims.Claim) bool {
			parent := strings.Trim(c.CgroupParent, "/")
			return parent != "" && strings.HasPrefix(path, parent+"/")
		}) {
			return true
		}
	}
	return false
}

// writersOf are all of the host, and what is at a path.
func writersOf(path string) (written.Writers, *os.File, error) {
	answers := func(string) error { return nil }
	all, err := written.New(written.Dir, "", answers).Writers()
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	return all, f, err
}

// planted says whether what is at a path may be a container's.
func planted(path string) bool {
	all, f, err := writersOf(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return all.Planted(f, path, nil) != nil
}

// inTheFolder says of an error of the socket's, if there is one, who may be behind it.
func (c *Config) inTheFolder(err error) error {
	if err == nil || errors.Is(err, api.ErrAnswers) {
		return err
	}
	for _, path := range []string{c.Socket, filepath.Dir(c.Socket)} {
		all, f, openErr := writersOf(path)
		if openErr != nil {
			continue
		}
		w, changedErr := all.Changed(f)
		f.Close()
		if changedErr == nil && w != nil {
			return fmt.Errorf("%w; %s is in a volume that %s (of the daemon on %s): end that sandbox, or choose a folder for --socket that no container can write", err, c.Socket, w.Could(), w.StateDir)
		}
	}
	return err
}

// serve answers what comes to the API's socket. One that somebody has removed is
// made anew at the next resync; who is connected by then stays so.
func (d *daemon) serve(ctx context.Context, server *api.Server, l net.Listener) error {
	parts := newGroup(ctx)
	listen := func() {
		l := l
		parts.run("listening", func(ctx context.Context) error { return server.Serve(ctx, l) })
	}
	listen()
	parts.run("keeping the socket", func(ctx context.Context) error {
		again := time.NewTicker(d.c.Resync)
		defer again.Stop()
		said := ""
		for {
			select {
			case <-again.C:
			case <-ctx.Done():
				return nil
			}
			if !api.Gone(l) {
				continue
			}
			next, err := d.listen()
			if err != nil {
				if said != err.Error() {
					d.c.Log.Error(err, "the API's socket was removed and can't be made anew", "socket", d.c.Socket)
				}
				said = err.Error()
				continue
			}
			d.c.Log.Info("the API's socket was removed and is made anew", "socket", d.c.Socket)
			said, l = "", next
			d.coverSoon() // another one was covered
			listen()
		}
	})
	return parts.wait()
}

// asked makes an event of a change that somebody asked for. What is typed for a
// command of exec is none: it is that command's own.
func (d *daemon) asked(a api.Audit) {
	what := whatAsked(a.Method, a.Path) + " was asked for by"
	if k := a.Signal; k != nil {
		exec, attach := k.PassedOn()
		n, err := desired.SignalNumber(k.Signal)
		switch {
		case exec || err != nil || attach && k.WindowChanged():
			return
		case attach:
			what = fmt.Sprintf("%s for container %q came through attach of", desired.SignalName(n), a.Container)
		default:
			what = fmt.Sprintf("%s for container %q was asked for by", desired.SignalName(n), a.Container)
		}
	}
	d.events.Append(events.Event{Sandbox: a.Sandbox, Container: a.Container, Type: events.Normal, Reason: "Asked",
		Message: fmt.Sprintf("%s uid %d (%s, pid %d)", what, a.UID, a.Program, a.PID)})
}

// whatAsked names a request to who knows the commands.
func whatAsked(method, uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return method + " " + uri
	}
	what := map[string]string{"restart": "restart", "exec": "exec", "attach": "attach", "checkpoint": "checkpoint",
		"confirm-deletions": "the deletion of what is held"}[path.Base(u.Path)]
	if what == "" {
		return method + " " + uri
	}
	if on := u.Query().Get("gofer"); on != "" && on != "0" && on != "false" {
		what += " of gofers"
	}
	if container := u.Query().Get("container"); container != "" {
		what += fmt.Sprintf(" of container %q", container)
	}
	return what
}
