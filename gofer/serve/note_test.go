package serve

import (
	"bytes"
	"testing"

	"sandboxer/internal/memfd"
)

// A note is what was written last, longer or shorter, and in nobody's way: neither
// of who maps the journal before it is written, nor after.
func TestNote(t *testing.T) {
	f, err := memfd.Shared("journal")
	check(t, err)
	defer f.Close()
	noted := func(want []byte) {
		t.Helper()
		if got, err := ReadNote(f); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	noted(nil)
	long := bytes.Repeat([]byte("long"), 3000)
	check(t, WriteNote(f, long))
	j := load(t, f)
	answer(t, j, given(2, "a"))
	noted(long)
	check(t, WriteNote(f, []byte("short")))
	noted([]byte("short"))
	again := load(t, f)
	if _, ok := again.object(2); !ok {
		t.Error("the journal has lost an entry")
	}
	check(t, f.Truncate(atNote+8+2))
	noted([]byte("sh"))
	write(t, f, bytes.Repeat([]byte{0xff}, 8), atNote)
	if got, err := ReadNote(f); err != nil || len(got) > noteMax {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
