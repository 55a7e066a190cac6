package actuator

import (
	"path/filepath"

	"sandboxer/desired"
	"sandboxer/gofer/serve"
)

// serveVolume is a volume as a gofer serves it.
func (a *Actuator) serveVolume(d *desired.Sandbox, v *desired.Volume, readOnly bool) (serve.Mount, error) {
	if v.HostPath == nil {
		source, err := filepath.EvalSymlinks(filepath.Join(a.volumesDir(d.Name), v.Name))
		return serve.Mount{Source: source, ReadOnly: readOnly}, err
	}
	if err := checkHostPath(v.HostPath); err != nil {
		return serve.Mount{}, err
	}
	m, err := a.serveMount(v.HostPath.Path, readOnly)
	m.Sockets = v.HostPath.Sockets
	return m, err
}
