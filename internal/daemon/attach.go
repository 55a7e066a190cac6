package daemon

import (
	"context"
	"errors"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/api"
)

// Attach connects to a container's command; see api.Backend.
func (d *daemon) Attach(sandbox, container string) (api.Attachment, error) {
	at, err := d.actuator.Attach(sandbox, container)
	if err != nil {
		return api.Attachment{}, d.inTheWay(sandbox, container, err)
	}
	return api.Attachment{
		Attached: api.Attached{ContainerID: at.ContainerID, Terminal: at.Terminal, Stdin: at.Stdin},
		Input:    at.Input,
		Output:   at.Output.Output,
		Await: func(ctx context.Context) api.AttachEnd {
			exit, err := at.Await(ctx)
			switch {
			case errors.Is(err, gvisor.ErrNoAnswer):
				return api.AttachEnd{Gone: true}
			case err != nil:
				return api.AttachEnd{Error: err.Error()}
			}
			return api.AttachEnd{ExitCode: exit.Code}
		},
		Close: func() {
			at.Input.Close() // none is fine
			at.Output.Close()
		},
	}, nil
}
