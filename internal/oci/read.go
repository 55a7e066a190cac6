package oci

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandboxer/internal/hostpath"
)

// ConfigMax is the most that is read of a config.json, in bytes.
const ConfigMax = 16 << 20

// Refused is a specification that would not be carried out, with every reason.
type Refused struct {
	File   string
	Faults []string
}

func (r *Refused) Error() string { return r.File + ": " + strings.Join(r.Faults, "; ") }

// Read reads the specification of the bundle in dir. A *Refused says what of it
// would not be carried out, and comes with the specification for those who look
// for more. Paths of the host are absolute in what it returns, and mounts have no
// options but those that a sentry carries out.
func Read(paths hostpath.Resolver, dir string, m Manifest) (*specs.Spec, error) {
	file := filepath.Join(dir, "config.json")
	b, err := paths.Read(file, ConfigMax)
	if err != nil {
		return nil, err
	}
	return parse(file, b, m)
}

// parse is Read of a file's content.
func parse(file string, b []byte, m Manifest) (*specs.Spec, error) {
	dir := filepath.Dir(file)
	spec := &specs.Spec{}
	if err := json.Unmarshal(b, spec); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	understood, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	faults := check(spec, m)
	// Where a file says something twice, one reading has what another has not.
	for _, text := range [][]byte{b, understood} {
		raw := map[string]any{}
		if err := json.Unmarshal(text, &raw); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		faults = append(faults, undone(raw)...)
	}
	if spec.Root != nil && spec.Root.Path != "" && !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(dir, spec.Root.Path)
	}
	for i := range spec.Mounts {
		mt := &spec.Mounts[i]
		if mt.Options = told(*mt); IsBind(*mt) && !filepath.IsAbs(mt.Source) {
			mt.Source = filepath.Join(dir, mt.Source)
		}
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return spec, &Refused{file, slices.Compact(faults)}
	}
	return spec, nil
}
