package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What is sealed is believed as it was written, and neither changed in a bit nor
// cut. What never was sealed makes nothing fail.
func FuzzSeal(f *testing.F) {
	f.Add([]byte(`{"name":"a","map":{"b":"c"}}`), uint(7))
	f.Add([]byte(`{"a":",\"checksum\":\"0123456789abcdef0123456789abcdef\"}"}`), uint(400))
	f.Add([]byte(`{"checksum":"","b":[]}`), uint(1000))
	f.Add(Seal([]byte(`{"a":1}`)), uint(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint) {
		_ = Check(data) // whatever it says
		var object map[string]any
		var written bytes.Buffer
		if json.Unmarshal(data, &object) != nil || len(object) == 0 || json.Compact(&written, data) != nil {
			return
		}
		whole := Seal(written.Bytes())
		if err := Check(whole); err != nil || !sealed(whole) {
			t.Fatalf("%s: %v", whole, err)
		}
		flipped := bytes.Clone(whole)
		flipped[at/8%uint(len(whole))] ^= 1 << (at % 8)
		if Check(flipped) == nil {
			t.Errorf("%s passes for %s", flipped, whole)
		}
		if cut := whole[:at%uint(len(whole))]; Check(cut) == nil && json.Valid(cut) {
			t.Errorf("%s passes for %s", cut, whole)
		}
	})
}

// Whatever is in a file and its copy, reading says what it is or why not, mending
// makes no more of it than there was, and nothing else in the folder is touched.
func FuzzFile(f *testing.F) {
	whole := Seal([]byte(`{"name":"a"}`))
	f.Add(whole, whole)
	f.Add(whole[:9], whole)
	f.Add(whole, []byte{})
	f.Add([]byte(`{"name":"b"}`), whole)
	f.Add([]byte(` {"name":"b"}`), []byte(`{"name":"c"}`))
	f.Add([]byte(`{}`), []byte(`null`))
	dir := f.TempDir()
	path, other := filepath.Join(dir, "x.json"), filepath.Join(dir, "y.json")
	must(f, os.WriteFile(other, []byte("other"), 0o600))
	const most = 4096
	f.Fuzz(func(t *testing.T, file, copied []byte) {
		must(t, errors.Join(os.WriteFile(path, file, 0o600), os.WriteFile(copyOf(path), copied, 0o600)))
		var before, after thing
		stoodIn, err := Read(path, most, decodeInto(&before))
		if _, damaged := errors.AsType[*Damage](err); err != nil && (!damaged || errors.Is(err, fs.ErrNotExist)) {
			t.Fatalf("%v", err)
		}
		decode := func([]byte) error { return errors.New("nothing is right") }
		if err == nil {
			decode = decodeInto(new(thing))
		}
		mended := Mend(path, most, decodeInto(new(thing)))
		if (mended == nil) != (err == nil) {
			t.Fatalf("read: %v, mended: %v", err, mended)
		}
		must(t, Tend(path, most, decode))
		if err == nil {
			if stoodIn, err := Read(path, most, decodeInto(&after)); err != nil || stoodIn != nil {
				t.Fatalf("after mending: %v, %v (before %v)", stoodIn, err, stoodIn)
			}
			a, _ := json.Marshal(before)
			b, _ := json.Marshal(after)
			if !bytes.Equal(a, b) {
				t.Fatalf("%s became %s (%v)", a, b, stoodIn)
			}
			// What it loses next shows.
			text, err := os.ReadFile(path)
			must(t, err)
			if copiedNow, err := os.ReadFile(copyOf(path)); err != nil || !bytes.Equal(copiedNow, text) {
				t.Fatalf("the copy is %s of %s, %v", copiedNow, text, err)
			}
		}
		must(t, Remove(path))
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Fatalf("left: %v, %v", entries, err)
		}
	})
}
