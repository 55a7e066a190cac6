package observed_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sandboxer/observed"
)

// A record that is missing with its copy and its spare is a lost one for who has
// written it, until its container is removed, and else for who is told of it.
func TestLostRecords(t *testing.T) {
	base := t.TempDir()
	r := recordsIn(t, base)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	server := observed.ContainerRecord{Sandbox: "web", Name: observed.Server(7), ID: "web." + observed.Server(7), State: observed.Running}
	check(errors.Join(r.Save(record("web")), r.SaveContainer(containerRecord("web", "app")), r.SaveContainer(server)))
	dir := r.Dir("web")
	check(errors.Join(os.RemoveAll(filepath.Join(dir, "containers")), os.RemoveAll(filepath.Join(base, "spares"))))
	lost := func(who string, r *observed.Records, container, servers int) {
		t.Helper()
		l := load(t, r, "web")
		if len(l.Containers) != 0 || len(l.BrokenContainers) != container || len(l.Servers) != servers || servers > 0 && l.Servers[0].ID != "" {
			t.Errorf("%s: %+v", who, l)
		}
	}
	lost("who wrote them", r, 1, 1)
	other := recordsIn(t, base)
	lost("another one", other, 0, 0)
	check(errors.Join(other.Expect("web", "app"), other.Expect("web", server.Name)))
	lost("another one that was told", other, 1, 1)
	check(other.SaveContainer(containerRecord("web", "app")))
	if l := load(t, other, "web"); len(l.Containers) != 1 || len(l.BrokenContainers) != 0 {
		t.Errorf("once there is one: %+v", l)
	}
	check(errors.Join(other.DeleteContainer("web", "app"), other.DeleteContainer("web", server.Name)))
	lost("after it was removed", other, 0, 0)
	if other.Expect("web", "../x") == nil {
		t.Error("a path was expected")
	}
}

// A note is the record of the container that it is of, and of no other, and is
// believed where it is signed.
func TestNotes(t *testing.T) {
	r, _ := newRecords(t)
	rec := containerRecord("web", "app")
	note, err := r.Note(rec)
	if err != nil {
		t.Fatal(err)
	}
	other, err := observed.NewRecords(observed.RecordsConfig{StateDir: t.TempDir(), BootID: "boot-1", Key: []byte("another key"), Spares: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		r         *observed.Records
		note      []byte
		container string
		unsigned  bool
		ok        bool
	}{
		{"its own", r, note, "app", false, true},
		{"another container's", r, note, "app-2", false, false},
		{"another container's, unsigned", r, note, "app-2", true, false},
		{"of another key", other, note, "app", false, false},
		{"of another key, where that may be", other, note, "app", true, true},
		{"torn", r, note[:len(note)-1], "app", true, false},
		{"empty", r, nil, "app", true, false},
		{"more than it", r, append(append([]byte{}, note...), 0), "app", true, false},
	} {
		got, err := c.r.FromNote(c.note, "web", c.container, c.unsigned)
		if (err == nil) != c.ok || c.ok && (got.ID != rec.ID || got.Hash != rec.Hash) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestInstanceOf(t *testing.T) {
	for id, want := range map[string]struct {
		name    string
		attempt int
	}{
		"web.app.3": {"app", 3}, "web._volumes.17": {"_volumes.17", 0}, "web.a.b.2": {"a.b", 2},
		"web.app": {}, "web": {}, "web.": {}, "other.app.1": {}, "web.app.x": {}, "web./../.1": {}, "webx.app.1": {}, "web..1": {},
	} {
		name, attempt, ok := observed.InstanceOf("web", id)
		if ok != (want.name != "") || ok && (name != want.name || attempt != want.attempt) {
			t.Errorf("%s: %q, %d, %v", id, name, attempt, ok)
		}
	}
}
