package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const entries = "" +
	"2026-01-01T00:00:00.000000000Z stdout F:start web.app.1\n" +
	"2026-01-01T00:00:01.000000000Z stdout F one\n" +
	"2026-01-01T00:00:02.000000000Z stdout P tw\n" +
	"2026-01-01T00:00:03.000000000Z stderr F three\n" +
	"2026-01-01T00:00:04.000000000Z stdout F o\n" +
	"2026-01-01T00:00:05.000000000Z stderr P open\n" +
	"2026-01-01T00:00:06.000000000Z stderr F:note some was lost\n" +
	"2026-01-01T00:00:07.000000000Z stdout P open\n" +
	"2026-01-01T00:00:08.000000000Z stdout F:start web.app.2\n" +
	"2026-01-01T00:00:09.000000000Z stdout F again\n" +
	"2026-01-01T00:00:10.000000000Z stdout F to"

func TestTextKeepsStreamsApart(t *testing.T) {
	for _, c := range []struct {
		timestamps bool
		out, err   string
	}{
		{false, "one\ntwo\nopen\nagain\n", "three\nopen\n[sandboxer] some was lost\n"},
		{true, "" +
			"2026-01-01T00:00:01.000000000Z one\n" +
			"2026-01-01T00:00:02.000000000Z two\n" +
			"2026-01-01T00:00:07.000000000Z open\n" +
			"2026-01-01T00:00:09.000000000Z again\n", "" +
			"2026-01-01T00:00:03.000000000Z three\n" +
			"2026-01-01T00:00:05.000000000Z open\n" +
			"2026-01-01T00:00:06.000000000Z [sandboxer] some was lost\n"},
	} {
		var out, errs bytes.Buffer
		text := NewText(&out, &errs, c.timestamps)
		n, err := io.Copy(text, iotest.OneByteReader(strings.NewReader(entries)))
		if err != nil || out.String() != c.out || errs.String() != c.err {
			t.Errorf("read %d, %v: %q and %q\nwant %q and %q", n, err, out.String(), errs.String(), c.out, c.err)
		}
		// What was cut off is not taken for read, and comes again.
		if got := text.Resume(); got != "2026-01-01T00:00:09.000000000Z" {
			t.Errorf("the last entry is that of %s", got)
		}
		out.Reset()
		fmt.Fprint(text, "2026-01-01T00:00:10.000000000Z stdout F too\n")
		if got := out.String(); !strings.HasSuffix(got, "too\n") || strings.Count(got, "\n") != 1 {
			t.Errorf("after the break it says %q", got)
		}
	}
}

// A terminal shows both streams in their order, and each entry at once.
func TestTextIsPromptAndInOrder(t *testing.T) {
	var shown bytes.Buffer
	text := NewText(&shown, &shown, false)
	for i := range 10 {
		fmt.Fprintf(text, "2026-01-01T00:00:0%d.000000000Z %s F line %d\n", i, streams[i%2], i)
		if got, want := shown.String(), fmt.Sprintf("line %d\n", i); got != want {
			t.Errorf("%q is shown, want %q", got, want)
		}
		shown.Reset()
	}
	fmt.Fprint(text, entries)
	if got, want := shown.String(), "one\ntwthree\no\nopen\n[sandboxer] some was lost\nopen\nagain\n"; got != want {
		t.Errorf("%q is shown, want %q", got, want)
	}
	broken := errors.New("broken")
	text = NewText(writer(func([]byte) (int, error) { return 0, broken }), io.Discard, false)
	if _, err := fmt.Fprint(text, entries); err != broken {
		t.Errorf("with a reader that is gone: %v", err)
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
