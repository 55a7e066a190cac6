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

	"sandboxer/internal/sealed"
)

// store keeps accepted documents on disk, one file NAME.json each, so that a
// rejected edit stays without effect across a restart. Each file is the old
// or the new version at any moment, also after a power cut, and has a checksum
// and a copy (see package sealed).
//
// One goroutine at a time may use it.
type store struct {
	dir  string            // "" keeps nothing
	disk map[string]record // by name, as last written or read
	// damaged are names whose file can't be used and is kept aside when there is
	// another.
	damaged map[string]bool
	// changed: names were made or removed since settle.
	changed bool
	removed map[string]removal // as last written; nil: nobody knows
}

// record is what is kept of an entry.
type record struct {
	Version int `json:"version,omitempty"` // 0: of a version that wrote none
	// Path is the absolute path of the file that declares the sandbox.
	Path    string   `json:"path"`
	Held    bool     `json:"held,omitempty"` // the deletion guard holds its removal
	Sandbox *Sandbox `json:"sandbox"`
}

// raw is it with names of any bytes.
func (r *record) raw() any {
	type plain record
	return &struct {
		*plain
		Path *sealed.Text `json:"path"`
	}{(*plain)(r), (*sealed.Text)(&r.Path)}
}

// MarshalJSON implements json.Marshaler.
func (r record) MarshalJSON() ([]byte, error) { return json.Marshal(r.raw()) }

// UnmarshalJSON implements json.Unmarshaler.
func (r *record) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, r.raw()) }

const recordVersion = 1

// recordMax is more than any accepted document has, in bytes.
const recordMax = 64 << 20

// openStore makes the directory if need be and reads it. What cannot be read
// is returned by name: nobody knows what it declared. told is told of what was
// damaged and could be mended.
func openStore(dir string, told func(name, damage string)) (*store, map[string]entry, map[string]error, error) {
	st := &store{dir: dir, disk: map[string]record{}, damaged: map[string]bool{}}
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
		file, ok := sealed.Of(f.Name())
		if !ok && strings.HasPrefix(f.Name(), ".") && strings.Contains(f.Name(), ".json") {
			// What a crash left half-written. A failure harms nobody.
			_ = os.RemoveAll(filepath.Join(dir, f.Name()))
		}
		name, isJSON := strings.CutSuffix(file, ".json")
		if _, read := st.disk[name]; !ok || !isJSON || !isDNSLabel(name) || read || lost[name] != nil {
			continue // not ours, or the copy of what was read
		}
		r, err := st.read(name, told)
		if err != nil {
			_, st.damaged[name] = errors.AsType[*sealed.Damage](err)
			lost[name] = err
			continue
		}
		st.disk[name] = r
		entries[name] = entry{sandbox: r.Sandbox, path: r.Path, held: r.Held}
	}
	return st, entries, lost, nil
}

// read reads one of the files, or else its copy, which then takes its place.
func (st *store) read(name string, told func(name, damage string)) (record, error) {
	var r record
	decode := func(data []byte) error {
		var d record
		// Not strict: a later version may have written more than is known here.
		if err := json.Unmarshal(data, &d); err != nil {
			return err
		}
		if d.Sandbox == nil || d.Sandbox.Name != name {
			return fmt.Errorf("it does not declare %q", name)
		}
		// What is missing is a null pointer to those who rely on defaults: an
		// earlier version knew fewer fields.
		setDefaults(d.Sandbox)
		r = d
		return nil
	}
	stoodIn, err := sealed.Read(st.path(name), recordMax, decode)
	if damage := (*sealed.Damage)(nil); errors.As(err, &damage) {
		return r, fmt.Errorf("%s.json is damaged: %w", name, damage)
	}
	if err == nil && stoodIn != nil {
		told(name, fmt.Sprintf("the accepted manifest %s was damaged (%s); its copy is used, and what was damaged is kept as %[1]s.damaged", st.path(name), stoodIn.Why))
		_ = sealed.Mend(st.path(name), recordMax, decode) // on a full disk it stays as it is
	}
	if err == nil {
		_ = sealed.Tend(st.path(name), recordMax, decode) // likewise
	}
	return r, err
}

// sync makes the disk hold exactly entries, see settle; what it could not write is left
// to the next call. A file that could not be read stays until there is a new
// version of it.
func (st *store) sync(entries map[string]entry) error {
	if st.dir == "" {
		return nil
	}
	if there, err := os.ReadDir(st.dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		names := make(map[string]bool, len(there))
		for _, e := range there {
			names[e.Name()] = true
		}
		// Somebody has removed what is not there, or all of it.
		maps.DeleteFunc(st.disk, func(name string, _ record) bool { return !names[name+".json"] })
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		r := record{Version: recordVersion, Path: e.path, Held: e.held, Sandbox: e.sandbox}
		// An unchanged sandbox is the same pointer: see step.present.
		if st.disk[name] == r {
			continue
		}
		var err error
		if st.damaged[name] {
			err = sealed.SetAside(st.path(name))
		}
		if err == nil {
			err = sealed.Write(st.path(name), r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keeping the accepted manifest of %q: %w", name, err))
			continue
		}
		delete(st.damaged, name)
		st.disk[name], st.changed = r, true
	}
	for _, name := range slices.Sorted(maps.Keys(st.disk)) {
		if _, ok := entries[name]; ok {
			continue
		}
		if err := sealed.Remove(st.path(name)); err != nil {
			errs = append(errs, fmt.Errorf("forgetting the manifest of %q: %w", name, err))
			continue
		}
		delete(st.disk, name)
		st.changed = true
	}
	return errors.Join(errs...)
}

// settle makes what sync has done survive a power cut; until then it may have
// been done or not.
func (st *store) settle() error {
	if !st.changed {
		return nil
	}
	err := syncDir(st.dir)
	st.changed = err != nil
	return err
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
