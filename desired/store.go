package desired

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
)

// store keeps accepted documents on disk, one file NAME.json each, so that a
// rejected edit stays without effect across a restart. Each file is the old
// or the new version at any moment, also after a power cut.
//
// One goroutine at a time may use it.
type store struct {
	dir  string            // "" keeps nothing
	disk map[string]record // by name, as last written or read
}

// record is what is kept of an entry.
type record struct {
	// Path is the absolute path of the file that declares the sandbox.
	Path    string   `json:"path"`
	Held    bool     `json:"held,omitempty"` // the deletion guard holds its removal
	Sandbox *Sandbox `json:"sandbox"`
}

// openStore makes the directory if need be and reads it. What cannot be read
// is returned by name: nobody knows what it declared.
func openStore(dir string) (*store, map[string]entry, map[string]error, error) {
	st := &store{dir: dir, disk: map[string]record{}}
	entries, lost := map[string]entry{}, map[string]error{}
	if dir == "" {
		return st, entries, lost, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("making the store of accepted manifests: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading the store of accepted manifests: %w", err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") && strings.Contains(f.Name(), ".json") {
			// What a crash left half-written. A failure harms nobody.
			_ = os.Remove(filepath.Join(dir, f.Name()))
			continue
		}
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || !isDNSLabel(name) {
			continue // not ours
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			lost[name] = err
			continue
		}
		var r record
		// Not strict: a later version may have written more than is known here.
		if err := json.Unmarshal(data, &r); err != nil || r.Sandbox == nil || r.Sandbox.Name != name {
			lost[name] = errors.Join(fmt.Errorf("%s is damaged", f.Name()), err)
			continue
		}
		st.disk[name] = r
		entries[name] = entry{sandbox: r.Sandbox, path: r.Path, held: r.Held}
	}
	return st, entries, lost, nil
}

// sync makes the disk hold exactly entries; what it could not write is left
// to the next call. A file that could not be read stays until there is a new
// version of it.
func (st *store) sync(entries map[string]entry) error {
	if st.dir == "" {
		return nil
	}
	var errs []error
	changed := false
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		r := record{Path: e.path, Held: e.held, Sandbox: e.sandbox}
		// An unchanged sandbox is the same pointer: see step.present.
		if st.disk[name] == r {
			continue
		}
		if err := st.write(name, r); err != nil {
			errs = append(errs, fmt.Errorf("keeping the accepted manifest of %q: %w", name, err))
			continue
		}
		st.disk[name], changed = r, true
	}
	for _, name := range slices.Sorted(maps.Keys(st.disk)) {
		if _, ok := entries[name]; ok {
			continue
		}
		if err := os.Remove(st.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("forgetting the manifest of %q: %w", name, err))
			continue
		}
		delete(st.disk, name)
		changed = true
	}
	if changed {
		errs = append(errs, syncDir(st.dir))
	}
	return errors.Join(errs...)
}

func (st *store) write(name string, r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Without the option each write first tries whether TMPDIR would do.
	return renameio.WriteFile(st.path(name), data, 0o600, renameio.WithTempDir(st.dir))
}

func (st *store) path(name string) string { return filepath.Join(st.dir, name+".json") }

// syncDir makes renames and removals in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
