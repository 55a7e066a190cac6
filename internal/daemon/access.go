package daemon

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"sandboxer/internal/api"
	"sandboxer/internal/events"
)

// listen binds the API's socket so that who has a grant can reach it.
func (d *daemon) listen() (net.Listener, error) {
	if len(d.c.Access) > 0 && filepath.Dir(d.c.Socket) == d.c.StateDir {
		// What is in there beside the socket can be opened by root alone.
		if err := os.Chmod(d.c.StateDir, 0o711); err != nil {
			return nil, err
		}
	}
	return api.Listen(d.c.Socket, d.c.Access)
}

// asked makes an event of a change that somebody asked for.
func (d *daemon) asked(a api.Audit) {
	d.events.Append(events.Event{Sandbox: a.Sandbox, Type: events.Normal, Reason: "Asked",
		Message: fmt.Sprintf("%s %s was asked for by uid %d (process %d, %s)", a.Method, a.Path, a.UID, a.PID, a.Program)})
}
