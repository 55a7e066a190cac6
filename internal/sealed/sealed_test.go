package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
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
	if err != nil {
		t.Helper() // which looks at the stack: not in all that fuzzers do
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
	for name, write := range map[string]func(string, any) error{"write": Write, "put": Put} {
		t.Run(name, func(t *testing.T) { testFile(t, write) })
	}
}

func testFile(t *testing.T, write func(string, any) error) {
	path := filepath.Join(t.TempDir(), "x.json")
	var got thing
	if _, err := Read(path, 1000, decodeInto(&got)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	must(t, write(path, thing{Name: "a"}))
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
	must(t, write(path, thing{Name: "c"}))
	must(t, SetAside(path))
	must(t, SetAside(path))
	must(t, Remove(path))
	must(t, Remove(path))
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// A copy that is there is written in place, however long it was.
func TestCopyInPlace(t *testing.T) {
	for name, write := range map[string]func(string, any) error{"write": Write, "put": Put} {
		path := filepath.Join(t.TempDir(), "x.json")
		must(t, write(path, thing{Name: "a"}))
		first, err := os.Stat(copyOf(path))
		must(t, err)
		for _, content := range []string{"longer", "b"} {
			must(t, write(path, thing{Name: content}))
			now, err := os.Stat(copyOf(path))
			must(t, err)
			var got thing
			if err := read(copyOf(path), 1000, decodeInto(&got)); err != nil || got.Name != content || !os.SameFile(first, now) {
				t.Errorf("%s: %+v, %v, the same file: %v", name, got, err, os.SameFile(first, now))
			}
		}
	}
}

// A copy that its disk has no room for stays as it is.
func TestCopyOnFullDisk(t *testing.T) {
	for name, write := range map[string]func(string, any) error{"write": Write, "put": Put} {
		dir := t.TempDir()
		must(t, unix.Mount("full", dir, "tmpfs", 0, "size=64k"))
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
		path := filepath.Join(dir, "x.json")
		must(t, write(path, thing{Name: "old"}))
		if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 64<<10), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		if err := write(path, thing{Name: strings.Repeat("n", 10<<10)}); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, os.Remove(path))
		var got thing
		if stoodIn, err := Read(path, 1<<20, decodeInto(&got)); err != nil || stoodIn == nil || got.Name != "old" {
			t.Errorf("%s: the copy: %v, %v, %.20q", name, stoodIn, err, got.Name)
		}
	}
}

// An old copy never stands in for a newer file: where none can be written
// nothing is. What was put in its place is in nobody's way.
func TestCopyThatCantBeWritten(t *testing.T) {
	for name, write := range map[string]func(string, any) error{"write": Write, "put": Put} {
		t.Run(name, func(t *testing.T) { testCopyThatCantBeWritten(t, write) })
	}
}

func testCopyThatCantBeWritten(t *testing.T, write func(string, any) error) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 250)) // its copy's name is too long
	must(t, os.WriteFile(path, Seal([]byte(`{"name":"old"}`)), 0o600))
	if err := write(path, thing{Name: "new"}); err == nil {
		t.Error("written")
	}
	var got thing
	if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn != nil || got.Name != "old" {
		t.Errorf("%v, %v, %+v", stoodIn, err, got)
	}
	path = filepath.Join(t.TempDir(), "x.json")
	must(t, os.MkdirAll(filepath.Join(copyOf(path), "x"), 0o700))
	must(t, write(path, thing{Name: "new"}))
	must(t, os.WriteFile(path, nil, 0o600))
	if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn == nil || got.Name != "new" {
		t.Errorf("%v, %v, %+v", stoodIn, err, got)
	}
}

// What a killed writer has left is in nobody's way and goes with the file.
func TestLeftHalfWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	for _, temp := range []string{newOf(path), newOf(copyOf(path))} {
		must(t, os.WriteFile(temp, []byte("left, and longer than what is to be written in its place now"), 0o600))
	}
	must(t, Put(path, thing{Name: "a"}))
	var got thing
	if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn != nil || got.Name != "a" {
		t.Errorf("%v, %v, %+v", stoodIn, err, got)
	}
	must(t, os.WriteFile(newOf(path), nil, 0o600))
	must(t, Remove(path))
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
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

// A file that would be too long to be read with a seal is kept without one.
func TestTendKeepsReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	text := []byte(`{"name":"a"}`)
	whole := int64(len(Seal(text)))
	for max := int64(len(text)); max <= whole; max++ {
		must(t, Remove(path))
		must(t, os.WriteFile(path, text, 0o600))
		var got thing
		must(t, Tend(path, max, decodeInto(&got)))
		if stoodIn, err := Read(path, max, decodeInto(&got)); err != nil || stoodIn != nil || got.Name != "a" {
			t.Errorf("of at most %d bytes: %v, %v, %+v", max, stoodIn, err, got)
		}
		b, err := os.ReadFile(path)
		must(t, err)
		if sealed(b) != (max == whole) {
			t.Errorf("of at most %d bytes it is %s", max, b)
		}
		if copied, err := os.ReadFile(copyOf(path)); err != nil || !bytes.Equal(copied, b) {
			t.Errorf("of at most %d bytes the copy is %s, %v", max, copied, err)
		}
	}
}

func TestOf(t *testing.T) {
	for entry, want := range map[string]string{
		"x.json": "x.json", ".x.json.copy": "x.json", "x.json.damaged": "", ".x.json123": "", ".x.json.new": "", ".x.json.copy.new": "",
	} {
		if got, ok := Of(entry); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", entry, got, ok)
		}
	}
}
