package sealed

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A copy that can't be looked at is no copy that is damaged: nobody knows.
func TestUnknownCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if err := Write(path, map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	// The damaged file itself is read, and then there are no descriptors left.
	if err := os.WriteFile(path, []byte(`{"a":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	few := was
	few.Cur = 0
	refused := false
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) }()
	_, err := Read(path, 1<<10, func([]byte) error {
		if !refused {
			refused = true
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few)
			return errors.New("not what was expected")
		}
		return nil
	})
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("with no descriptor for the copy: %v", err)
	}
}

// Whatever was set aside, a file can be forgotten.
func TestRemoveWhatWasADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := SetAside(path); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// What a manifest calls checksum is no seal.
func TestTheWordInAnObject(t *testing.T) {
	for data, bad := range map[string]bool{
		`{"sandbox":{"labels":{"checksum":"0123456789012345678901234567890123456789"}}}`:     false,
		`{"sandbox":{"args":["checksum","0123456789012345678901234567890123456789012345"]}}`: false,
		`{"checksum":"00","sandbox":{"args":["0123456789012345678901234567890123456789"]}}`:  true,
	} {
		if err := Check([]byte(data)); (err != nil) != bad {
			t.Errorf("%s: %v", data, err)
		}
	}
}
