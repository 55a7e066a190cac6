package daemon

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
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
	return api.Listen(d.c.Socket, d.c.Access)
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
