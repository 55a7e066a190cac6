package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
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

// inMemory is a directory for which no disk is written, if there is one: fuzzing
// waits for nothing else.
func inMemory(f *testing.F) string {
	f.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fuzz-")
	if err != nil {
		return f.TempDir()
	}
	f.Cleanup(func() { must(f, os.RemoveAll(dir)) })
	return dir
}

// lay makes a file, by no more calls than that takes.
func lay(path string, data []byte) error {
	if overwrite(path, data) == nil {
		return nil
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(writeAll(fd, data), unix.Close(fd))
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
	dir := inMemory(f)
	path, other := filepath.Join(dir, "x.json"), filepath.Join(dir, "y.json")
	must(f, os.WriteFile(other, []byte("other"), 0o600))
	const most = 4096
	folder, err := os.Open(dir)
	must(f, err)
	f.Cleanup(func() { folder.Close() })
	f.Fuzz(func(t *testing.T, file, copied []byte) {
		must(t, errors.Join(lay(path, file), lay(copyOf(path), copied)))
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
		names := in(t, folder)
		want := []string{".x.json.copy", "x.json", "y.json"}
		setAside := len(names) == len(want)+1
		if setAside {
			want = slices.Insert(want, 2, "x.json.damaged")
		}
		if !slices.Equal(names, want) || setAside && err != nil {
			t.Fatalf("%v are there, after %v", names, err)
		}
		// To remove and to make them takes as long as all else: the next input takes
		// their place, mostly.
		if setAside || (len(file)+len(copied))%8 == 0 {
			must(t, Remove(path))
			if names := in(t, folder); len(names) != 1 {
				t.Fatalf("left: %v", names)
			}
		}
	})
}

// in gives the names in a folder.
func in(t *testing.T, folder *os.File) []string {
	_, err := folder.Seek(0, io.SeekStart)
	must(t, err)
	names, err := folder.Readdirnames(-1)
	must(t, err)
	slices.Sort(names)
	return names
}
