package observed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

func TestTornRecords(t *testing.T) {
	r, dir := saved(t)
	loseSpares(t, dir)
	for _, file := range []string{"sandbox.json", "containers/app.json"} {
		path := filepath.Join(dir, file)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".copy")
		for n := range whole {
			zeros := append(slices.Clone(whole[:n]), make([]byte, len(whole)-n)...)
			for _, torn := range [][]byte{whole[:n], zeros} {
				if err := os.WriteFile(path, torn, 0o600); err != nil {
					t.Fatal(err)
				}
				if l := load(t, r, "web"); l.Record == nil || len(l.Containers) != 2 || len(l.Damaged) != 1 || l.Damaged[file] == "" {
					t.Fatalf("%s with %d of %d bytes, and a copy: %+v", file, n, len(whole), l)
				}
				if err := os.WriteFile(copied, torn, 0o600); err != nil {
					t.Fatal(err)
				}
				l := load(t, r, "web")
				if err := os.WriteFile(copied, whole, 0o600); err != nil {
					t.Fatal(err)
				}
				if file == "sandbox.json" && (l.Record != nil || l.Broken == "" || len(l.Containers) != 2) {
					t.Fatalf("%s with %d of %d bytes: %+v", file, n, len(whole), l)
				}
				if file != "sandbox.json" && (l.Record == nil || len(l.Containers) != 1 || len(l.BrokenContainers) != 1 || l.BrokenContainers["app"] == "") {
					t.Fatalf("%s with %d of %d bytes: %+v", file, n, len(whole), l)
				}
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignRecords(t *testing.T) {
	swap := func(old, new string) func(string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			if err == nil && !bytes.Contains(data, []byte(old)) {
				err = fmt.Errorf("no %s in %s", old, data)
			}
			return errors.Join(err, os.WriteFile(path, bytes.Replace(data, []byte(old), []byte(new), 1), 0o600))
		}
	}
	replace := func(with func(path string) error) func(string) error {
		return func(path string) error { return errors.Join(os.Remove(path), with(path)) }
	}
	for name, spoil := range map[string]func(string) error{
		"of another boot":   swap(`"bootID":"boot-1"`, `"bootID":"boot-0"`),
		"of another format": swap(`"version":1`, `"version":2`),
		"without a format":  swap(`"version":1,`, ``),
		"under a name":      swap(`"name":"`, `"name":"x`),
		"without a state":   swap(`"state":"`, `"state":"x`),
		"of another type":   swap(`"version":1`, `"version":"1"`),
		"followed by more":  func(path string) error { return appendTo(path, "{}") },
		"null":              replace(func(path string) error { return os.WriteFile(path, []byte("null"), 0o600) }),
		"too long":          func(path string) error { return appendTo(path, strings.Repeat(" ", 1<<20)) },
		"a directory":       replace(func(path string) error { return os.Mkdir(path, 0o700) }),
		"a link":            replace(func(path string) error { return os.Symlink("/dev/zero", path) }),
		"a dangling link":   replace(func(path string) error { return os.Symlink("none", path) }),
		"a pipe":            replace(func(path string) error { return unix.Mkfifo(path, 0o600) }),
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := saved(t)
			if err := errors.Join(spoil(filepath.Join(dir, "sandbox.json")), spoil(filepath.Join(dir, ".sandbox.json.copy"))); err != nil {
				t.Fatal(err)
			}
			loseSpares(t, dir)
			if l := load(t, r, "web"); l.Record != nil || l.Broken == "" || len(l.Containers) != 2 {
				t.Errorf("sandbox: %+v", l)
			}
			r, dir = saved(t)
			if err := errors.Join(spoil(filepath.Join(dir, "containers", "app.json")), spoil(filepath.Join(dir, "containers", ".app.json.copy"))); err != nil {
				t.Fatal(err)
			}
			loseSpares(t, dir)
			if l := load(t, r, "web"); l.Record == nil || len(l.Containers) != 1 || l.BrokenContainers["app"] == "" {
				t.Errorf("container: %+v", l)
			}
			if err := r.Delete("web"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of a container whose record and copy are gone it is known that it was there by
// the damaged one that was set aside, until that goes with the record.
func TestOnlySetAside(t *testing.T) {
	r, dir := saved(t)
	file := filepath.Join(dir, "containers", "app.json")
	if err := errors.Join(os.Rename(file, file+".damaged"), os.Remove(filepath.Join(dir, "containers", ".app.json.copy"))); err != nil {
		t.Fatal(err)
	}
	loseSpares(t, dir)
	if l := load(t, r, "web"); len(l.Containers) != 1 || l.BrokenContainers["app"] == "" || l.Damaged != nil {
		t.Errorf("Load = %+v", l)
	}
	if err := r.DeleteContainer("web", "app"); err != nil {
		t.Fatal(err)
	}
	if l := load(t, r, "web"); len(l.Containers) != 1 || l.BrokenContainers != nil {
		t.Errorf("after it was removed: Load = %+v", l)
	}
}

// A record that names another cgroup than one of its sandbox is believed in
// nothing: all that is in there would be ended with the sandbox.
func TestCgroupOfAnother(t *testing.T) {
	for cgroup, want := range map[string]bool{
		"/sandboxer/web": true, "/earlier/parent/web": true, "": true, // "" is for the caller to derive
		"/sandboxer/other": false, "/sandboxer": false, "/": false, "/sandboxer/web/nested": false, "/sandboxer/web/": false,
		"/sandboxer/web/..": false, "/sandboxer/../web": false, "web": false, "/sandboxer/webweb": false, ".": false,
	} {
		r, _ := newRecords(t)
		rec := record("web")
		rec.Cgroup = cgroup
		if err := r.Save(rec); err != nil {
			t.Fatal(err)
		}
		if l := load(t, r, "web"); (l.Record != nil) != want || (l.Broken == "") != want {
			t.Errorf("%q: believed: %v, %q", cgroup, l.Record != nil, l.Broken)
		}
	}
}

// Nor is a container's record believed that has another's ID.
func TestInstanceOfAnother(t *testing.T) {
	for id, want := range map[string]bool{
		"web.app.1": true, "web.app.20": true,
		"other.app.1": false, "web.app": false, "web.app.": false, "web.app.x": false, "web.app.-1": false, "web.app2.1": false, "web.app.1.1": false, "web": false, "": false,
	} {
		r, _ := newRecords(t)
		rec := containerRecord("web", "app")
		rec.ID = id
		if err := errors.Join(r.Save(record("web")), r.SaveContainer(rec)); err != nil {
			t.Fatal(err)
		}
		if l := load(t, r, "web"); (len(l.Containers) == 1) != want || (l.BrokenContainers["app"] == "") != want {
			t.Errorf("%q: believed: %v, %q", id, len(l.Containers) == 1, l.BrokenContainers["app"])
		}
	}
	r, _ := newRecords(t)
	name := observed.Server(7)
	for id, want := range map[string]bool{"web." + name: true, "other." + name: false, "web." + name + ".1": false} {
		err := errors.Join(r.Save(record("web")), r.SaveContainer(observed.ContainerRecord{Sandbox: "web", Name: name, ID: id, State: observed.Running}))
		if err != nil {
			t.Fatal(err)
		}
		if l := load(t, r, "web"); len(l.Servers) != 1 || (l.Servers[0].ID == id) != want {
			t.Errorf("%q: %+v", id, l.Servers)
		}
	}
}

// One record that is damaged, whatever happens to it, is what its copy is, and
// mended for good; what was damaged is kept.
func TestMend(t *testing.T) {
	for name, spoil := range map[string]func(path, other string) error{
		"a flipped bit": func(path, _ string) error {
			data, err := os.ReadFile(path)
			data[len(data)/2] ^= 1
			return errors.Join(err, os.WriteFile(path, data, 0o600))
		},
		"a flipped bit in the checksum's name": func(path, _ string) error {
			data, err := os.ReadFile(path)
			data[bytes.LastIndex(data, []byte(`"checksum"`))+3] ^= 1
			data[len(data)/2] ^= 1
			return errors.Join(err, os.WriteFile(path, data, 0o600))
		},
		"another layout, with a key less": func(path, _ string) error {
			data, err := os.ReadFile(path)
			var fields map[string]any
			err = errors.Join(err, json.Unmarshal(data, &fields))
			delete(fields, "state")
			data, _ = json.MarshalIndent(fields, "", " ")
			return errors.Join(err, os.WriteFile(path, data, 0o600))
		},
		"swapped":     func(path, other string) error { return unix.Renameat2(-1, path, -1, other, unix.RENAME_EXCHANGE) },
		"emptied":     func(path, _ string) error { return os.Truncate(path, 0) },
		"gone":        func(path, _ string) error { return os.Remove(path) },
		"a directory": func(path, _ string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"sandbox.json", "containers/app.json"} {
				r, dir := saved(t)
				want := load(t, r, "web")
				path := filepath.Join(dir, file)
				if err := spoil(path, filepath.Join(dir, "containers/app-2.json")); err != nil {
					t.Fatal(err)
				}
				l := load(t, r, "web")
				if l.Damaged[file] == "" {
					t.Errorf("%s: %+v", file, l)
				}
				damage := len(l.Damaged)
				if l.Damaged = nil; !reflect.DeepEqual(l, want) {
					t.Errorf("%s: %+v, want %+v", file, l, want)
				}
				if err := r.Mend("web"); err != nil {
					t.Fatal(err)
				}
				if l := load(t, r, "web"); !reflect.DeepEqual(l, want) {
					t.Errorf("%s: mended, %+v, want %+v", file, l, want)
				}
				if _, err := os.Lstat(path + ".damaged"); err != nil && name != "gone" {
					t.Error(err)
				}
				if name == "swapped" && damage != 2 {
					t.Errorf("%s: %d are damaged", file, damage)
				}
				if err := r.Delete("web"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What an earlier version wrote has neither a checksum nor a copy.
func TestRecordsOfAnEarlierVersion(t *testing.T) {
	r, dir := saved(t)
	want := load(t, r, "web")
	for _, file := range []string{"sandbox.json", "containers/app.json"} {
		path := filepath.Join(dir, file)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		unsealed, _, sealed := bytes.Cut(data, []byte(`,"checksum"`))
		err = errors.Join(os.WriteFile(path, append(unsealed, '}'), 0o600), os.Remove(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".copy")))
		if err != nil || !sealed {
			t.Fatal(err, sealed)
		}
	}
	loseSpares(t, dir)
	if l := load(t, r, "web"); l.Record != nil || len(l.Containers) != 1 || l.Containers[0].Name != "app-2" {
		t.Errorf("before it was admitted: %+v", l)
	}
	if admitted, err := r.Admit("web", true, nothingAgainst); err != nil || !slices.Equal(admitted, []string{"sandbox.json", "containers/app.json"}) {
		t.Errorf("admitted: %q, %v", admitted, err)
	}
	if l := load(t, r, "web"); !reflect.DeepEqual(ageless(l), ageless(want)) {
		t.Errorf("%+v, want %+v", l, want)
	}
}

func nothingAgainst(*observed.Record, *observed.ContainerRecord, bool) error { return nil }

// ageless is l without generations, which grow each time that a record is written.
func ageless(l observed.Loaded) observed.Loaded {
	if l.Record != nil {
		rec := *l.Record
		rec.Generation = 0
		l.Record = &rec
	}
	for _, list := range []*[]observed.ContainerRecord{&l.Containers, &l.Servers} {
		*list = slices.Clone(*list)
		for i := range *list {
			(*list)[i].Generation = 0
		}
	}
	return l
}

func appendTo(path, more string) error {
	data, err := os.ReadFile(path)
	return errors.Join(err, os.WriteFile(path, append(data, more...), 0o600))
}

func TestRecordOfAContainerThatMoved(t *testing.T) {
	r, dir := saved(t)
	if err := r.Save(record("db")); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(filepath.Dir(dir), "db", "containers")
	if err := os.Rename(filepath.Join(dir, "containers"), moved); err != nil {
		t.Fatal(err)
	}
	if l := load(t, r, "db"); l.Record == nil || len(l.Containers) != 0 || len(l.BrokenContainers) != 2 {
		t.Errorf("Load = %+v", l)
	}
}
