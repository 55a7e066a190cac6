package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sandboxer/observed"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func image(sandbox string) observed.Image {
	return observed.Image{
		Sandbox: sandbox, CreatedAt: time.Unix(5, 0).UTC(), Spec: json.RawMessage(`{"a":1}`),
		Containers: []observed.ContainerRecord{{Sandbox: sandbox, Name: "app", ID: sandbox + ".app.1", Attempt: 1, State: observed.Running}},
	}
}

func fill(content string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, "memory"), []byte(content), 0o600) }
}

// entries are the names in dir, hidden ones too.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestStore(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "checkpoints"), Runtime: "r1"}
	if got, err := s.Read("web"); got != nil || err != nil {
		t.Errorf("nothing there: %+v, %v", got, err)
	}
	check(t, s.Remove("web"))
	if names, err := s.Names(); len(names) > 0 || err != nil {
		t.Errorf("nothing there: %v, %v", names, err)
	}
	check(t, s.Write("web", image("web"), fill("one")))
	check(t, s.Write("web-2", image("web-2"), fill("two")))
	got, err := s.Read("web")
	check(t, err)
	if got.Unusable != "" || got.Sandbox != "web" || !got.CreatedAt.Equal(time.Unix(5, 0)) || got.Containers[0].ID != "web.app.1" {
		t.Errorf("%+v", got)
	}
	var spec map[string]int
	if err := json.Unmarshal(got.Spec, &spec); err != nil || spec["a"] != 1 {
		t.Errorf("spec %s, %v", got.Spec, err)
	}
	if b, err := os.ReadFile(filepath.Join(s.Path("web"), "memory")); err != nil || string(b) != "one" {
		t.Errorf("%q, %v", b, err)
	}
	for path, mode := range map[string]fs.FileMode{s.Dir: 0o700, s.Path("web"): 0o700, filepath.Join(s.Path("web"), description): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if names, err := s.Names(); !slices.Equal(names, []string{"web", "web-2"}) || err != nil {
		t.Errorf("%v, %v", names, err)
	}
	check(t, s.Remove("web"))
	if left := entries(t, s.Dir); !slices.Equal(left, []string{"web-2"}) {
		t.Errorf("left: %v", left)
	}
	for _, name := range []string{"", ".", "..", "a/b", ".web"} {
		_, err := s.Read(name)
		if w, r := s.Write(name, image("x"), fill("")), s.Remove(name); !errors.Is(err, observed.ErrName) || !errors.Is(w, observed.ErrName) || !errors.Is(r, observed.ErrName) {
			t.Errorf("%q: %v, %v, %v", name, err, w, r)
		}
	}
}

// What fails leaves nothing, and what a crash has left counts for nothing and
// goes with the next step.
func TestUnfinished(t *testing.T) {
	s := Store{Dir: t.TempDir(), Runtime: "r1"}
	full := errors.New("full")
	err := s.Write("web", image("web"), func(dir string) error {
		if got, err := s.Read("web"); got != nil || err != nil {
			t.Errorf("half of it shows: %+v, %v", got, err)
		}
		return errors.Join(fill("half")(dir), full)
	})
	if !errors.Is(err, full) || len(entries(t, s.Dir)) > 0 {
		t.Errorf("%v; left: %v", err, entries(t, s.Dir))
	}
	for _, name := range []string{"web", "web-2"} {
		work, err := os.MkdirTemp(s.Dir, unfinished(s.Path(name)))
		check(t, err)
		check(t, fill("half")(work))
	}
	if names, err := s.Names(); len(names) > 0 || err != nil {
		t.Errorf("%v, %v", names, err)
	}
	check(t, s.Remove("web"))
	if left := entries(t, s.Dir); len(left) != 1 || !strings.HasPrefix(left[0], ".web-2.") {
		t.Errorf("left: %v", left)
	}
	check(t, s.Write("web-2", image("web-2"), fill("whole")))
	if left := entries(t, s.Dir); !slices.Equal(left, []string{"web-2"}) {
		t.Errorf("left: %v", left)
	}
}

// A checkpoint takes the place of nothing but nothing and an empty directory.
func TestWriteWhereSomethingIs(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "image")
	check(t, os.Mkdir(at, 0o755))
	check(t, Write(at, "r1", image("web"), fill("one")))
	err := Write(at, "r1", image("web"), func(string) error { t.Error("it was begun"); return nil })
	if err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("%v", err)
	}
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{file, filepath.Join(dir, "no", "parent")} {
		if err := Write(path, "r1", image("web"), fill("")); err == nil {
			t.Errorf("written to %s", path)
		}
	}
	if left := entries(t, dir); !slices.Equal(left, []string{"file", "image"}) {
		t.Errorf("left: %v", left)
	}
}

func TestUnusable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	if _, err := Read(dir, "r1"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no checkpoint at "+dir) {
		t.Errorf("nothing there: %v", err)
	}
	check(t, Write(dir, "r1", image("web"), fill("one")))
	got, err := Read(dir, "r2")
	if err != nil || got.Unusable != "it was written by r1, and this build has r2: only a sandboxer with the former can restore it" {
		t.Errorf("of another runtime: %+v, %v", got, err)
	}
	file := filepath.Join(dir, description)
	for content, want := range map[string]string{
		"":                               "can't be understood",
		`{"version":1,"runtime":"r1"`:    "can't be understood",
		`{"version":2,"runtime":"r1"}`:   "has format 2, and this build reads 1",
		`{"version":1,"containers":"x"}`: "can't be understood",
	} {
		check(t, os.WriteFile(file, []byte(content), 0o600))
		check(t, os.RemoveAll(filepath.Join(dir, "."+description+".copy")))
		if got, err := Read(dir, "r1"); err != nil || !strings.Contains(got.Unusable, want) {
			t.Errorf("%q: %+v, %v; want %q", content, got, err, want)
		}
	}
	check(t, os.Remove(file))
	check(t, os.Mkdir(file, 0o700))
	if got, err := Read(dir, "r1"); err != nil || got.Unusable == "" {
		t.Errorf("what is no file: %+v, %v", got, err)
	}
	// A suspended sandbox whose description is gone has not become one that was
	// never suspended.
	s := Store{Dir: filepath.Dir(dir), Runtime: "r1"}
	check(t, os.Remove(file))
	if got, err := s.Read("image"); err != nil || got == nil || !strings.Contains(got.Unusable, "image.json is missing") {
		t.Errorf("what is gone: %+v, %v", got, err)
	}
	check(t, s.Remove("image"))
	check(t, Write(dir, "r1", image("web"), fill("one")))
	if got, err := s.Read("image"); err != nil || got == nil || !strings.Contains(got.Unusable, `of sandbox "web"`) {
		t.Errorf("another's: %+v, %v", got, err)
	}
}

// Whatever a description says, nothing of it names a process or a file of the
// host.
func TestNothingThatDoesHarm(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	rec := image("web")
	rec.Containers[0] = observed.ContainerRecord{Sandbox: "web", Name: "app", ID: "web.app.1", Attempt: 1, Hash: "h", State: observed.Stopped,
		Gofer: observed.Process{PID: 1, StartTime: 2}, Keeper: observed.Process{PID: 3, StartTime: 4}, PIDFile: observed.PIDFile{Path: "/etc/passwd", PID: 5},
		GoferState: json.RawMessage(`{}`), Process: json.RawMessage(`{}`), Terminal: true, Stdin: true}
	check(t, Write(dir, "r1", rec, fill("one")))
	// Nor where somebody has put it there.
	file := filepath.Join(dir, description)
	text := `{"version":1,"runtime":"r1","sandbox":"web","spec":{},"containers":[{"sandbox":"web","name":"app","id":"web.app.1","attempt":1,"hash":"h",` +
		`"state":"stopped","gofer":{"pid":1,"startTime":2},"keeper":{"pid":3,"startTime":4},"pidFile":{"path":"/etc/passwd","pid":5},"goferState":{},"process":{},"terminal":true}]}`
	want := observed.ContainerRecord{Sandbox: "web", Name: "app", ID: "web.app.1", Attempt: 1, Hash: "h", State: observed.Stopped}
	for range 2 {
		got, err := Read(dir, "r1")
		if err != nil || got.Unusable != "" || !reflect.DeepEqual(got.Containers[0], want) {
			t.Errorf("%+v, %v", got, err)
		}
		check(t, os.WriteFile(file, []byte(text), 0o600))
	}
	for old, new := range map[string]string{
		`"id":"web.app.1"`:  `"id":"../../web"`,
		`"name":"app"`:      `"name":"../app"`,
		`"state":"stopped"`: `"state":"creating"`,
		`[{"sandbox":"web"`: `[{"sandbox":"db"`,
		`"attempt":1`:       `"attempt":-1`,
	} {
		check(t, os.WriteFile(file, []byte(strings.Replace(text, old, new, 1)), 0o600))
		check(t, os.RemoveAll(filepath.Join(dir, "."+description+".copy")))
		if got, err := Read(dir, "r1"); err != nil || got.Unusable == "" {
			t.Errorf("%s: %+v, %v", new, got, err)
		}
	}
}
