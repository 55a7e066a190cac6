package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/claims"
	"sandboxer/internal/events"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

// things are this daemon's own: no container may reach them.
func (d *daemon) things() ([]shelf.Thing, error) {
	hidden := func(what, path string) shelf.Thing { return shelf.Thing{What: what, Path: path, Hidden: true} }
	things := []shelf.Thing{
		hidden("the state directory", d.c.StateDir),
		hidden("the data directory", d.c.DataDir),
		hidden("the directory of daemons' claims", claims.Dir),
	}
	for _, dir := range d.c.Own {
		things = append(things, hidden("the directory", dir))
	}
	for _, dir := range d.c.Manifests {
		things = append(things, hidden("the manifests' directory", dir))
	}
	things = append(things, hidden("the API's socket", d.c.Socket))
	if d.c.ConfigFile != "" {
		things = append(things, shelf.Thing{What: "the configuration file", Path: d.c.ConfigFile, Hidden: true, Replaced: true, Empty: true})
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	things = append(things, shelf.Thing{What: "the program", Path: exe, Replaced: true})
	for i := range things {
		if things[i].Path, err = filepath.Abs(things[i].Path); err != nil {
			return nil, err
		}
	}
	return things, nil
}

// guard is what containers must not reach, other daemons' own included.
func (d *daemon) guard() (shelf.Guard, error) {
	check := d.answers.Scan(scanPatience)
	others, err := claims.Others(d.c.StateDir, func(path string) error { return check(path, false) })
	things := slices.Concat(d.own, others)
	for i := range things {
		if silent, ok := errors.AsType[*answers.Silent](check(things[i].Path, false)); ok {
			things[i].Silent = silent.Mount
		}
	}
	return shelf.Guard{Things: things, Kernel: d.c.AllowKernelFileSystems}, err
}

// keepGuard has what containers that run must not reach by now covered: what
// was not there when they were started, or is another daemon's since.
func (d *daemon) keepGuard(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Add(claims.Dir); err != nil {
		return err
	}
	again := time.NewTicker(d.c.Resync)
	defer again.Stop()
	for {
		if err := d.actuator.Cover(); err != nil {
			d.c.Log.Error(err, "something may show in containers that is not theirs")
		}
		select {
		case <-w.Events:
		case err := <-w.Errors:
			d.c.Log.V(1).Info("watching other daemons failed", "error", err.Error())
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// volumeEmptied makes an event of a volume of which a container sees nothing.
func (d *daemon) volumeEmptied(c observed.ContainerRecord, why string) {
	d.events.Append(events.Event{Sandbox: c.Sandbox, Container: c.Name, Type: events.Warning, Reason: "VolumeEmptied", Message: why})
}

// declared are the sandboxes that are to be.
func (s *source) declared() (all []*desired.Sandbox) {
	if set := s.directory.Set(); set != nil {
		for _, sandbox := range set.Sandboxes {
			all = append(all, sandbox)
		}
	}
	return all
}
