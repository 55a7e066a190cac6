package logs

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// What is written is read as it was, and nothing that a file may hold makes a
// reader fail.
func FuzzEntry(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.000000000Z stdout F text"), byte(whole), false)
	f.Add([]byte(""), byte(note), true)
	f.Add([]byte("  F "), byte(partial), false)
	f.Fuzz(func(t *testing.T, text []byte, k byte, onStderr bool) {
		_, _ = parseEntry(text)
		text = bytes.ReplaceAll(text, []byte{'\n'}, nil)
		e := entry{at: []byte("2026-01-02T03:04:05.000000006Z"), stream: stdout, kind: kind(k) % kind(len(tags)), text: text}
		if onStderr {
			e.stream = stderr
		}
		line := appendEntry(nil, e)
		if len(line) > len(text)+overhead {
			t.Errorf("an entry is %d bytes longer than its text", len(line)-len(text))
		}
		back, ok := parseEntry(bytes.TrimSuffix(line, []byte{'\n'}))
		if !ok || !bytes.Equal(back.at, e.at) || back.stream != e.stream || back.kind != e.kind || !bytes.Equal(back.text, text) {
			t.Errorf("%q was read as %+v, %v", line, back, ok)
		}
	})
}

// Stamps are times, each later than the one before, as text too, unless the
// host's clock was put back for good.
func TestClock(t *testing.T) {
	var c clock
	noon := time.Date(2026, 1, 2, 11, 59, 59, 999_999_990, time.UTC)
	var got []string
	for range 3 {
		c.set(noon.UnixNano())
		for range 8 {
			got = append(got, string(c.text[:]))
			if want := time.Unix(0, c.ns).UTC().Format(stamp); got[len(got)-1] != want {
				t.Fatalf("it shows %s at %s", got[len(got)-1], want)
			}
			c.tick()
		}
	}
	if !slices.IsSorted(got) || len(slices.Compact(got)) != 24 {
		t.Errorf("stamps are not in order: %v", got)
	}
	if want := "2026-01-02T11:59:59.999999990Z"; got[0] != want {
		t.Errorf("the first is %s, want %s", got[0], want)
	}
	c.set(noon.Add(-time.Hour).UnixNano())
	if want := "2026-01-02T10:59:59.999999990Z"; string(c.text[:]) != want {
		t.Errorf("an hour earlier it shows %s", c.text[:])
	}
}
