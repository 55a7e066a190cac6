package daemon

import (
	"errors"
	"fmt"
	"path/filepath"

	"sandboxer/internal/answers"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/written"
)

// named is a path of the host that the daemon was given for itself.
type named struct{ flag, path string }

// named are all of them, but the socket's own name: that is not followed.
func (c *Config) named() []named {
	all := []named{{"--state-dir", c.StateDir}, {"--data-dir", c.DataDir}}
	for _, dir := range c.Manifests {
		all = append(all, named{"--manifests", dir})
	}
	if c.ConfigFile != "" {
		all = append(all, named{"--config", c.ConfigFile})
	}
	if c.Socket != "" {
		all = append(all, named{"--socket", filepath.Dir(c.Socket)})
	}
	return all
}

// followed refuses what leads through a link that a container could have made, of a
// sandbox of any daemon's that runs or is gone: it is looked at before anything is made,
// bound or obeyed there.
func followed(all []named, writers written.Writers, asked func(path string) error) error {
	for _, n := range all {
		path, err := filepath.Abs(n.path)
		if err != nil {
			return err
		}
		f, err := hostpath.Resolver{Answers: asked, Link: writers.Follow}.Open(path)
		if err == nil {
			f.Close()
		}
		if errors.Is(err, hostpath.ErrLink) { // what is not there, or fails, is for who uses it
			return fmt.Errorf("%s %s: %w: name what it leads to, or make the link where no container can", n.flag, n.path, err)
		}
	}
	return nil
}

// followed is that for what the daemon was given.
func (c *Config) followed() error {
	asked := answers.New("/proc/self/exe", nil)
	defer asked.Close()
	writers, err := written.New(written.Dir, c.StateDir, asked.Check).Writers()
	if err != nil {
		return err
	}
	return followed(c.named(), writers, asked.Check)
}
