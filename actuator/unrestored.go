package actuator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/observed"
)

// unwalked finds in what gVisor says the file that a sandbox has open and that
// is not to be had any more, and the mount, as CONTAINER:PATH.
var unwalked = regexp.MustCompile(`failed to walk "([^"]*)" of type \S+ in mount "([^":]*):([^"]*)": (.*)`)

// unrestored says in the manifest's words why a sandbox could not be restored,
// where what gVisor says means something to those alone who know its program.
func (a *Actuator) unrestored(ctx context.Context, err error, sentry gvisor.Sentry, d *desired.Sandbox, from *source) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errGoferDied) {
		// Gofers also end with their sentry, and with what that has given up.
		asked, cancel := context.WithTimeout(ctx, endTime)
		said := sentry.Restored(asked)
		cancel()
		if said != nil && !errors.Is(said, gvisor.ErrNoAnswer) {
			err = said
		} else if alive, unknown := sentry.Process.Liveness(); unknown == nil && alive == observed.Gone {
			return &renamed{err, "gVisor's sentry ended while it restored the sandbox. Mostly a file that a program in it has open or mapped " +
				"is another or a shorter one by now than when the checkpoint was made: put back what was there in the volumes and roots, or " + from.otherwise()}
		}
	}
	m := unwalked.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	file, mount, why := m[1], m[2]+":"+m[3], m[4]
	in, on := a.mounted(d, from, m[2], m[3])
	if in == "" {
		in = mount
	}
	at := ""
	if on != "" {
		at = fmt.Sprintf(" (%s on the host)", filepath.Join(on, file))
	}
	return &renamed{err, fmt.Sprintf("a program in the sandbox has the file %q of %s%s open, and that is not there as it was when the checkpoint was made: %s; put it back, or %s",
		file, in, at, why, from.otherwise())}
}

// otherwise is what else can be done about a checkpoint that can't be used.
func (s *source) otherwise() string {
	if s.own {
		return "declare Stopped to discard the checkpoint"
	}
	return "leave restoreFrom out"
}

// mounted says what a mount is that a checkpoint knows as container and path,
// in the manifest's words, and where on the host; empty: nobody knows.
func (a *Actuator) mounted(d *desired.Sandbox, from *source, container, path string) (what, on string) {
	of := func(name string) (string, string) {
		switch v := volume(d, name); {
		case v == nil:
			return "", ""
		case v.HostPath != nil:
			return fmt.Sprintf("volume %q", name), v.HostPath.Path
		default:
			return fmt.Sprintf("volume %q", name), filepath.Join(a.volumesDir(d.Name), name)
		}
	}
	for _, s := range from.Shares {
		if s.Key == filepath.Base(path) {
			return of(s.Volume)
		}
	}
	for i := range d.Spec.Containers {
		c := &d.Spec.Containers[i]
		if c.Name != container {
			continue
		}
		for _, m := range c.VolumeMounts {
			if m.MountPath == path {
				return of(m.Name)
			}
		}
		if path == "/" {
			root := ""
			if c.Rootfs != nil {
				root = c.Rootfs.Path
			}
			return fmt.Sprintf("the root of container %q", c.Name), root
		}
	}
	return "", ""
}
