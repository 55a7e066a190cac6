package oci

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// configMax is the most that is read of a config.json, in bytes.
const configMax = 16 << 20

// Refused is a specification that would not be carried out, with every reason.
type Refused struct {
	File   string
	Faults []string
}

func (r *Refused) Error() string { return r.File + ": " + strings.Join(r.Faults, "; ") }

// Read reads the specification of the bundle in dir. A *Refused says what of it
// would not be carried out. Paths of the host are absolute in what it returns,
// and mounts have no options but those that a sentry carries out.
func Read(dir string, m Manifest) (*specs.Spec, error) {
	file := filepath.Join(dir, "config.json")
	b, err := ReadFile(file, configMax)
	if err != nil {
		return nil, err
	}
	spec, raw := &specs.Spec{}, map[string]any{}
	for _, into := range []any{spec, &raw} {
		if err := json.Unmarshal(b, into); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	faults := append(undone(raw), check(spec, m)...)
	if len(faults) > 0 {
		slices.Sort(faults)
		return nil, &Refused{file, faults}
	}
	if !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(dir, spec.Root.Path)
	}
	for i := range spec.Mounts {
		mt := &spec.Mounts[i]
		if mt.Options = told(*mt); IsBind(*mt) && !filepath.IsAbs(mt.Source) {
			mt.Source = filepath.Join(dir, mt.Source)
		}
	}
	return spec, nil
}

// ReadFile reads a file that a manifest or bundle names, of at most so many
// bytes. It neither waits for a pipe's writer nor reads what has no end.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return b, err
}
