package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

type thing struct {
	Name string            `json:"name"`
	Map  map[string]string `json:"map,omitempty"`
}

func decodeInto(v *thing) func([]byte) error {
	return func(data []byte) error {
		var got thing
		if err := json.Unmarshal(data, &got); err != nil {
			return err
		}
		*v = got
		return nil
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// However few bits flip, the file is never believed.
func TestSealHolds(t *testing.T) {
	whole := Seal([]byte(`{"name":"a","map":{"b":"c"}}`))
	must(t, Check(whole))
	for bit := range len(whole) * 8 {
		data := append([]byte(nil), whole...)
		data[bit/8] ^= 1 << (bit % 8)
		if Check(data) == nil {
			t.Fatalf("bit %d: %s passes", bit, data)
		}
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		data := append([]byte(nil), whole...)
		for range 1 + r.IntN(4) {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
		if string(data) != string(whole) && Check(data) == nil && json.Valid(data) {
			t.Fatalf("seed %d: %s passes", seed, data)
		}
	}
}

// A version that knows nothing of seals reads what is sealed, and this one
// what is not.
func TestBothWays(t *testing.T) {
	var got thing
	must(t, json.Unmarshal(Seal([]byte(`{"name":"a"}`)), &got))
	if got.Name != "a" {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{`{"name":"a"}`, ``, `{}`, `null`} {
		must(t, Check([]byte(text)))
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	var got thing
	if _, err := Read(path, 1000, decodeInto(&got)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	must(t, Write(path, thing{Name: "a"}))
	if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn != nil || got.Name != "a" {
		t.Errorf("%v, %v, %+v", stoodIn, err, got)
	}
	// The copy stands in for what is damaged, and both being so is told.
	must(t, os.WriteFile(path, []byte(`{"name":"b`), 0o600))
	got = thing{}
	if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn == nil || got.Name != "a" {
		t.Errorf("%v, %v, %+v", stoodIn, err, got)
	}
	must(t, os.Truncate(copyOf(path), 3))
	var damage *Damage
	if _, err := Read(path, 1000, decodeInto(&got)); !errors.As(err, &damage) {
		t.Errorf("%v", err)
	}
	// An error that says nothing of the content is no damage.
	must(t, os.Remove(path))
	must(t, os.Symlink("loop", path))
	if _, err := Read(path, 1000, decodeInto(&got)); !errors.As(err, &damage) {
		t.Errorf("%v", err)
	}
	must(t, Write(path, thing{Name: "c"}))
	must(t, SetAside(path))
	must(t, SetAside(path))
	must(t, Remove(path))
	must(t, Remove(path))
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// An old copy never stands in for a newer file: where none can be written
// nothing is. What was put in its place is in nobody's way.
func TestCopyThatCantBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	must(t, Write(path, thing{Name: "old"}))
	must(t, os.Mkdir(copyOf(path)+".new", 0o700))
	if err := Write(path, thing{Name: "new"}); err == nil {
		t.Error("written")
	}
	var got thing
	if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn != nil || got.Name != "old" {
		t.Errorf("%v, %v, %+v", stoodIn, err, got)
	}
	must(t, os.Remove(copyOf(path)))
	must(t, os.MkdirAll(filepath.Join(copyOf(path), "x"), 0o700))
	must(t, Write(path, thing{Name: "new"}))
	must(t, os.WriteFile(path, nil, 0o600))
	if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn == nil || got.Name != "new" {
		t.Errorf("%v, %v, %+v", stoodIn, err, got)
	}
}

// A file that has lost its checksum alone, or never had one, is as good as it was,
// and what it loses next shows all the same.
func TestTendSeals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	must(t, Write(path, thing{Name: "a"}))
	var got thing
	for _, text := range []string{`{"map":{"b":"c"},"name":"a"}`, "{\"name\": \"a\"}\n"} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		must(t, Tend(path, 1000, decodeInto(&got)))
		if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn != nil || got.Name != "a" {
			t.Errorf("%s: %v, %v, %+v", text, stoodIn, err, got)
		}
		whole, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, bytes.Replace(whole, []byte(`"a"`), []byte(`"z"`), 1), 0o600))
		if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn == nil || got.Name != "a" {
			t.Errorf("%s, damaged after: %v, %v, %+v", text, stoodIn, err, got)
		}
	}
	for _, text := range []string{"{}", "{ }", "null"} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		must(t, Tend(path, 1000, decodeInto(&got)))
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%s became %s, %v", text, b, err)
		}
	}
}

func TestOf(t *testing.T) {
	for entry, want := range map[string]string{
		"x.json": "x.json", ".x.json.copy": "x.json", "x.json.damaged": "", ".x.json123": "", ".x.json.copy.new": "",
	} {
		if got, ok := Of(entry); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", entry, got, ok)
		}
	}
}
