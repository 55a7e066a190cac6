package actuator

import (
	"errors"
	"fmt"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandboxer/desired"
)

// withBundle are a bundle's hooks, each list followed by the manifest's. h may
// be nil.
func withBundle(h *specs.Hooks, declared desired.Hooks) (desired.Hooks, error) {
	if h == nil {
		return declared, nil
	}
	if len(h.CreateContainer)+len(h.StartContainer) > 0 {
		return desired.Hooks{}, errors.New("hooks: createContainer and startContainer are not supported: gVisor runs no hooks inside a container's namespaces")
	}
	for _, l := range []struct {
		all  *[]desired.Hook
		more []specs.Hook
	}{
		//lint:ignore SA1019 OCI has deprecated these, and bundles have them.
		{&declared.Prestart, h.Prestart},
		{&declared.CreateRuntime, h.CreateRuntime},
		{&declared.Poststart, h.Poststart},
		{&declared.Poststop, h.Poststop},
	} {
		var all []desired.Hook
		for _, one := range l.more {
			seconds := int64(desired.DefaultHookTimeout)
			if one.Timeout != nil {
				seconds = int64(*one.Timeout)
			}
			if !filepath.IsAbs(one.Path) || seconds < 1 || seconds > desired.MaxHookTimeout {
				return desired.Hooks{}, fmt.Errorf("hooks: %q with a time-out of %d s: want an absolute path, and 1 to %d s", one.Path, seconds, desired.MaxHookTimeout)
			}
			all = append(all, desired.Hook{Path: one.Path, Args: one.Args, Env: one.Env, Timeout: &seconds})
		}
		*l.all = append(all, *l.all...)
	}
	return declared, nil
}
