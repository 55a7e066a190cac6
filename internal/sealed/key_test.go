package sealed

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A key stays; what is damaged is another one, and that is told.
func TestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, made, err := Key(path)
	if must(t, err); !made || len(first) != keyLen {
		t.Errorf("%x, %v", first, made)
	}
	if again, made, err := Key(path); err != nil || made || !bytes.Equal(again, first) {
		t.Errorf("%x, %v, %v", again, made, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	for name, spoil := range map[string]func() error{
		"a bit":       func() error { return os.WriteFile(path, append([]byte{data[0] ^ 1}, data[1:]...), 0o600) },
		"torn":        func() error { return os.WriteFile(path, data[:keyLen], 0o600) },
		"longer":      func() error { return os.WriteFile(path, append(data, 0), 0o600) },
		"empty":       func() error { return os.Truncate(path, 0) },
		"gone":        func() error { return os.Remove(path) },
		"a directory": func() error { _ = os.Remove(path); return os.Mkdir(path, 0o700) },
		"a link":      func() error { _ = os.Remove(path); return os.Symlink("/dev/zero", path) },
	} {
		must(t, spoil())
		key, made, err := Key(path)
		if err != nil || !made || bytes.Equal(key, first) || len(key) != keyLen {
			t.Errorf("%s: %x, %v, %v", name, key, made, err)
		}
		if again, made, err := Key(path); err != nil || made || !bytes.Equal(again, key) {
			t.Errorf("%s: %x, %v, %v", name, again, made, err)
		}
	}
}

// A signature holds for the key, the name and every bit, and nothing else is one.
func TestSign(t *testing.T) {
	key := []byte("key")
	data := Seal(Sign(key, "web/sandbox.json", []byte(`{"name":"a"}`)))
	if !Signed(key, "web/sandbox.json", data) || Check(data) != nil {
		t.Fatalf("%s", data)
	}
	if Signed([]byte("yek"), "web/sandbox.json", data) || Signed(key, "web/sandbox.jso", data) || Signed(key, "", data) ||
		Signed(key, "web/sandbox.json", Seal([]byte(`{"name":"a"}`))) || Signed(key, "web/sandbox.json", nil) {
		t.Error("believed")
	}
	body := data[:len(data)-sealLen]
	for bit := range len(body) * 8 {
		forged := append(bytes.Clone(body), '}')
		forged[bit/8] ^= 1 << (bit % 8)
		if Signed(key, "web/sandbox.json", Seal(forged)) {
			t.Fatalf("bit %d: %s is believed", bit, forged)
		}
	}
}
