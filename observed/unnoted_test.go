package observed_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sandboxer/observed"
)

// What the disk has no room to note is believed all the same, by the next daemon
// too, and noted once there is room; what is gone is not.
func TestUnnoted(t *testing.T) {
	dir := t.TempDir()
	r := recordsIn(t, dir)
	if err := r.Prune(); err != nil {
		t.Fatal(err)
	}
	spares := filepath.Join(dir, "spares")
	save := func(name string) {
		t.Helper()
		if err := errors.Join(r.Save(record(name)), r.SaveContainer(containerRecord(name, "app"))); err != nil {
			t.Fatal(err)
		}
	}
	believed := func(when string, want bool, all ...*observed.Records) {
		t.Helper()
		for _, r := range all {
			if l := load(t, r, "web"); (l.Record != nil && len(l.Containers) == 1) != want {
				t.Errorf("%s: %+v", when, l)
			}
		}
	}
	save("other")
	full := filepath.Join(spares, "web") // no directory can be made there
	if err := os.WriteFile(full, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	save("web")
	believed("with a full disk", true, r, recordsIn(t, dir))
	if err := r.Delete("other"); err != nil { // it was written before
		t.Fatal(err)
	}
	believed("when another one is gone", true, recordsIn(t, dir))
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	r = recordsIn(t, dir)
	believed("with room", true, r)
	if _, err := os.Stat(filepath.Join(full, "sandbox.json.last")); err != nil {
		t.Errorf("not noted: %v", err)
	}
	was := kept(t, r.Dir("web"))
	if err := r.Delete("web"); err != nil {
		t.Fatal(err)
	}
	put(t, was)
	believed("what is gone", false, r, recordsIn(t, dir))
	r = recordsIn(t, dir)
	if err := r.Prune(); err != nil {
		t.Fatal(err)
	}
	believed("what is gone, later", false, r)
}
