package sealed

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// stands are what may stand in the place of a file.
var stands = map[string]func(path string) error{
	"good":            func(path string) error { return os.WriteFile(path, Seal([]byte(`{"name":"a"}`)), 0o600) },
	"damaged":         func(path string) error { return os.WriteFile(path, []byte(`{"name":"a`), 0o600) },
	"missing":         func(string) error { return nil },
	"empty directory": func(path string) error { return os.Mkdir(path, 0o700) },
	"full directory":  func(path string) error { return os.MkdirAll(filepath.Join(path, "x", "y"), 0o700) },
	"link":            func(path string) error { return os.Symlink("/proc/version", path) },
	"pipe":            func(path string) error { return unix.Mkfifo(path, 0o600) },
}

// Whatever stands in the place of a file, of its copy, of what is to become
// either, and of what was set aside: it is written, mended and removed.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.json")
	// others are what stands in the three places that are neither, in turn: none of
	// them depends on another.
	eachPlace := func(t *testing.T, others []string, do func(t *testing.T, file, copied string)) {
		for file, put := range stands {
			for copied, putCopy := range stands {
				for _, other := range others {
					must(t, os.RemoveAll(dir))
					must(t, os.Mkdir(dir, 0o700))
					must(t, errors.Join(put(path), putCopy(copyOf(path))))
					for _, p := range []string{newOf(path), newOf(copyOf(path)), path + asideSuffix, copyOf(path) + asideSuffix} {
						must(t, stands[other](p))
					}
					do(t, file, copied)
					if t.Failed() {
						t.Fatalf("file: %s, copy: %s, others: %s", file, copied, other)
					}
				}
			}
		}
	}
	all := slices.Collect(maps.Keys(stands))
	few := []string{"full directory"} // where each case waits for the disk
	holds := func(t *testing.T, name string) {
		t.Helper()
		var got thing
		if stoodIn, err := Read(path, 1000, decodeInto(&got)); err != nil || stoodIn != nil || got.Name != name {
			t.Errorf("%+v, %v, %v", got, stoodIn, err)
		}
		if err := read(copyOf(path), 1000, decodeInto(&got)); err != nil || got.Name != name {
			t.Errorf("the copy: %+v, %v", got, err)
		}
	}
	for name, write := range map[string]func(string, any) error{"write": Write, "put": Put} {
		t.Run(name, func(t *testing.T) {
			others := all
			if name == "write" {
				others = few
			}
			eachPlace(t, others, func(t *testing.T, file, copied string) {
				must(t, write(path, thing{Name: "b"}))
				holds(t, "b")
				if _, err := os.Lstat(filepath.Join(path+asideSuffix, "x", "y")); strings.HasSuffix(file, "full directory") && err != nil {
					t.Errorf("what stood there is not kept: %v", err)
				}
				temps := []string{newOf(path)}
				if copied != "good" && copied != "damaged" { // a plain copy is written in place
					temps = append(temps, newOf(copyOf(path)))
				}
				for _, temp := range temps {
					if _, err := os.Lstat(temp); name == "put" && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s is left: %v", temp, err)
					}
				}
			})
		})
	}
	t.Run("read", func(t *testing.T) {
		eachPlace(t, all, func(t *testing.T, file, copied string) {
			var got thing
			stoodIn, err := Read(path, 1000, decodeInto(&got))
			_, damaged := errors.AsType[*Damage](err)
			right := damaged
			switch {
			case file == "good":
				right = err == nil && stoodIn == nil && got.Name == "a"
			case copied == "good":
				right = err == nil && stoodIn != nil && got.Name == "a"
			case file == "missing" && copied == "missing":
				right = errors.Is(err, fs.ErrNotExist)
			}
			if !right {
				t.Errorf("%+v, %v, %v", got, stoodIn, err)
			}
		})
	})
	t.Run("remove", func(t *testing.T) {
		eachPlace(t, all, func(t *testing.T, _, _ string) {
			must(t, Remove(path))
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v, %v", left, err)
			}
		})
	})
	t.Run("set aside", func(t *testing.T) {
		eachPlace(t, all, func(t *testing.T, _, _ string) {
			must(t, SetAside(path))
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		})
	})
	t.Run("mend", func(t *testing.T) {
		eachPlace(t, few, func(t *testing.T, file, copied string) {
			var got thing
			err := errors.Join(Mend(path, 1000, decodeInto(&got)), Tend(path, 1000, decodeInto(&got)))
			if file == "good" || copied == "good" {
				must(t, err)
				holds(t, "a")
			} else if err == nil {
				t.Error("nobody knows what it was, and it is mended")
			}
		})
	})
	t.Run("key", func(t *testing.T) {
		eachPlace(t, few, func(t *testing.T, _, _ string) {
			key, made, err := Key(path)
			if err != nil || !made {
				t.Fatalf("%v, %v", made, err)
			}
			if again, made, err := Key(path); err != nil || made || string(again) != string(key) {
				t.Errorf("%v, %v", made, err)
			}
		})
	})
}
