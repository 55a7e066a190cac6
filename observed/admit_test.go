package observed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"sandboxer/internal/sealed"
	"sandboxer/observed"
)

// kept are a sandbox's records and their copies, by path.
func kept(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{"*.json", ".*.copy", "containers/*.json", "containers/.*.copy"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if files[name], err = os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}

func put(t testing.TB, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// loseSpares loses what is kept of a sandbox's records, but for which are the last.
func loseSpares(t testing.TB, dir string) {
	t.Helper()
	spares := filepath.Join(filepath.Dir(filepath.Dir(dir)), "spares", filepath.Base(dir))
	lost := 0
	for _, pattern := range []string{"*.json", "containers/*.json"} {
		names, err := filepath.Glob(filepath.Join(spares, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			lost++
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lost == 0 {
		t.Fatalf("nothing is kept in %s", spares)
	}
}

// A sandbox of which neither records nor copies are left, or of which all were
// damaged, is known by its spares, which mend the rest.
func TestSpares(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"gone":        os.Remove,
		"emptied":     func(path string) error { return os.Truncate(path, 0) },
		"a directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := recordsIn(t, dir)
			server := observed.ContainerRecord{Sandbox: "web", Name: observed.Server(0), ID: "web." + observed.Server(0), State: observed.Running}
			if err := errors.Join(r.Save(record("web")), r.SaveContainer(containerRecord("web", "app")), r.SaveContainer(server)); err != nil {
				t.Fatal(err)
			}
			want := load(t, r, "web")
			for path := range kept(t, r.Dir("web")) {
				if err := lose(path); err != nil {
					t.Fatal(err)
				}
			}
			next := recordsIn(t, dir)
			for _, r := range []*observed.Records{r, next} {
				l := load(t, r, "web")
				if len(l.Damaged) != 3 {
					t.Errorf("told of: %q", l.Damaged)
				}
				if l.Damaged = nil; !reflect.DeepEqual(l, want) {
					t.Errorf("%+v, want %+v", l, want)
				}
			}
			if err := next.Mend("web"); err != nil {
				t.Fatal(err)
			}
			if l := load(t, next, "web"); !reflect.DeepEqual(ageless(l), ageless(want)) {
				t.Errorf("mended: %+v", l)
			}
			loseSpares(t, r.Dir("web"))
			if l := load(t, next, "web"); !reflect.DeepEqual(ageless(l), ageless(want)) {
				t.Errorf("mended, without spares: %+v", l)
			}
			if err := next.Delete("web"); err != nil {
				t.Fatal(err)
			}
			if l := load(t, recordsIn(t, dir), "web"); !reflect.DeepEqual(l, observed.Loaded{}) {
				t.Errorf("deleted: %+v", l)
			}
		})
	}
}

// Who can write records but has not the key gets none believed, by the daemon that
// runs and by the next one.
func TestForged(t *testing.T) {
	unsigned := func(data []byte) []byte {
		body, _, found := bytes.Cut(data, []byte(`,"signature"`))
		if !found {
			t.Fatalf("not signed: %s", data)
		}
		return append(body, '}')
	}
	for name, forge := range map[string]func([]byte) []byte{
		"unsigned":         unsigned,
		"unsigned, sealed": func(data []byte) []byte { return sealed.Seal(unsigned(data)) },
		"signed with another": func(data []byte) []byte {
			return sealed.Seal(sealed.Sign([]byte("other"), "web/sandbox.json", unsigned(data)))
		},
		"signed as nothing": func(data []byte) []byte { return sealed.Seal(sealed.Sign([]byte("key"), "", unsigned(data))) },
		"changed and sealed": func(data []byte) []byte {
			body, _, _ := bytes.Cut(bytes.Replace(data, []byte(`"hash":"c1"`), []byte(`"hash":"c2"`), 1), []byte(`,"checksum"`))
			return sealed.Seal(append(bytes.Replace(body, []byte(`"sandboxHash":"s1"`), []byte(`"sandboxHash":"s2"`), 1), '}'))
		},
		"signed and not sealed": func(data []byte) []byte {
			body, _, _ := bytes.Cut(data, []byte(`,"checksum"`))
			return append(body, '}')
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := recordsIn(t, dir)
			if err := errors.Join(r.Save(record("web")), r.SaveContainer(containerRecord("web", "app"))); err != nil {
				t.Fatal(err)
			}
			files := kept(t, r.Dir("web"))
			if len(files) != 4 {
				t.Fatalf("%d files", len(files))
			}
			for path, data := range files {
				files[path] = forge(data)
				if !json.Valid(files[path]) {
					t.Fatalf("%s", files[path])
				}
			}
			put(t, files)
			next := recordsIn(t, dir)
			if admitted, err := next.Admit("web", false, nothingAgainst); err != nil || len(admitted) > 0 {
				t.Errorf("admitted: %q, %v", admitted, err)
			}
			for _, r := range []*observed.Records{r, next} {
				l := load(t, r, "web")
				if l.Record == nil || l.Record.SandboxHash != "s1" || len(l.Containers) != 1 || l.Containers[0].Hash != "c1" || len(l.Damaged) != 2 {
					t.Errorf("not as it was: %+v", l)
				}
			}
			loseSpares(t, r.Dir("web"))
			for _, r := range []*observed.Records{r, next} {
				if l := load(t, r, "web"); l.Record != nil || l.Broken == "" || len(l.Containers) > 0 || l.BrokenContainers["app"] == "" {
					t.Errorf("believed: %+v", l)
				}
			}
		})
	}
}

// Nor is one that was signed and is not the last: of an earlier state, of what was
// deleted, of another name.
func TestPutBack(t *testing.T) {
	dir := t.TempDir()
	r := recordsIn(t, dir)
	save := func() {
		t.Helper()
		if err := errors.Join(r.Save(record("web")), r.SaveContainer(containerRecord("web", "app"))); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string) {
		t.Helper()
		for _, r := range []*observed.Records{r, recordsIn(t, dir)} {
			if l := load(t, r, "web"); l.Record != nil && what != "a container's" || len(l.Containers) > 0 {
				t.Errorf("%s: believed: %+v", what, l)
			}
		}
	}
	save()
	earlier := kept(t, r.Dir("web"))
	save()
	want := load(t, r, "web")
	put(t, earlier)
	for _, r := range []*observed.Records{r, recordsIn(t, dir)} {
		l := load(t, r, "web")
		if len(l.Damaged) != 2 {
			t.Errorf("nothing is told: %+v", l)
		}
		if l.Damaged = nil; !reflect.DeepEqual(l, want) {
			t.Errorf("not the last: %+v, want %+v", l, want)
		}
	}
	loseSpares(t, r.Dir("web"))
	refused("an earlier one")
	save()
	earlier = kept(t, r.Dir("web"))
	if err := r.DeleteContainer("web", "app"); err != nil {
		t.Fatal(err)
	}
	put(t, earlier)
	refused("a container's")
	if err := r.Delete("web"); err != nil {
		t.Fatal(err)
	}
	put(t, earlier)
	refused("of what is gone")
	if err := r.Delete("web"); err != nil {
		t.Fatal(err)
	}
	save()
	if err := os.Rename(r.Dir("web"), r.Dir("web2")); err != nil {
		t.Fatal(err)
	}
	if l := load(t, r, "web2"); l.Record != nil || len(l.Containers) > 0 {
		t.Errorf("of another: %+v", l)
	}
}

// What the kernel has something against is not admitted. Where it is not known
// which records are the last, what is signed is admitted if the kernel knows of its
// processes; with another key, what it has nothing against.
func TestAdmit(t *testing.T) {
	against := errors.New("the kernel is against it")
	for name, c := range map[string]struct {
		lost     string // what is lost
		all      bool
		holds    func(rec *observed.Record, c *observed.ContainerRecord, sure bool) error
		admitted []string
		fails    bool
	}{
		"nothing lost":    {"", true, nil, nil, false},
		"the generations": {"generations", false, nothingAgainst, []string{"sandbox.json", "containers/app.json", "containers/app-2.json"}, false},
		"and nothing of it runs": {"generations", false, func(_ *observed.Record, _ *observed.ContainerRecord, sure bool) error {
			if !sure {
				t.Error("they are to be known to run")
			}
			return against
		}, nil, true},
		"the key": {"key", true, nothingAgainst, []string{"sandbox.json", "containers/app.json", "containers/app-2.json"}, false},
		"one foreign": {"key", true, func(_ *observed.Record, c *observed.ContainerRecord, _ bool) error {
			if c != nil && c.Name == "app" {
				return against
			}
			return nil
		}, []string{"sandbox.json", "containers/app-2.json"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := recordsIn(t, dir)
			if err := errors.Join(r.Save(record("web")), r.SaveContainer(containerRecord("web", "app")), r.SaveContainer(containerRecord("web", "app-2"))); err != nil {
				t.Fatal(err)
			}
			key := []byte("key")
			switch c.lost {
			case "generations":
				if err := os.RemoveAll(filepath.Join(dir, "spares")); err != nil {
					t.Fatal(err)
				}
			case "key":
				key = []byte("another")
			}
			r, err := observed.NewRecords(observed.RecordsConfig{StateDir: dir, BootID: "boot-1", Key: key, Spares: filepath.Join(dir, "spares")})
			if err != nil {
				t.Fatal(err)
			}
			admitted, err := r.Admit("web", c.all, c.holds)
			slices.Sort(admitted)
			slices.Sort(c.admitted)
			if !slices.Equal(admitted, c.admitted) || (err != nil) != c.fails {
				t.Errorf("admitted %q, %v", admitted, err)
			}
			l := load(t, r, "web")
			if believed := len(l.Containers); c.lost != "" && believed != max(len(c.admitted)-1, 0) || (l.Record != nil) != (c.lost == "" || len(c.admitted) > 0) {
				t.Errorf("believed: %+v", l)
			}
		})
	}
}
