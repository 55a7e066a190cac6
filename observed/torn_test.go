package observed_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTornRecords(t *testing.T) {
	r, dir := saved(t)
	for _, file := range []string{"sandbox.json", "containers/app.json"} {
		path := filepath.Join(dir, file)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			zeros := append(slices.Clone(whole[:n]), make([]byte, len(whole)-n)...)
			for _, torn := range [][]byte{whole[:n], zeros} {
				if err := os.WriteFile(path, torn, 0o600); err != nil {
					t.Fatal(err)
				}
				l := load(t, r, "web")
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
			if err := spoil(filepath.Join(dir, "sandbox.json")); err != nil {
				t.Fatal(err)
			}
			if l := load(t, r, "web"); l.Record != nil || l.Broken == "" || len(l.Containers) != 2 {
				t.Errorf("sandbox: %+v", l)
			}
			r, dir = saved(t)
			if err := spoil(filepath.Join(dir, "containers", "app.json")); err != nil {
				t.Fatal(err)
			}
			if l := load(t, r, "web"); l.Record == nil || len(l.Containers) != 1 || l.BrokenContainers["app"] == "" {
				t.Errorf("container: %+v", l)
			}
			if err := r.Delete("web"); err != nil {
				t.Error(err)
			}
		})
	}
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
