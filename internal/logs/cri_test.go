package logs

import (
	"bytes"
	"testing"
	"time"
)

// What is written is read as it was, and nothing that a file may hold makes a
// reader fail.
func FuzzEntry(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.000000000Z stdout F text"), true, false)
	f.Add([]byte(""), false, true)
	f.Add([]byte("  F "), false, false)
	f.Fuzz(func(t *testing.T, text []byte, partial, onStderr bool) {
		_, _ = parseEntry(text)
		text = bytes.ReplaceAll(text, []byte{'\n'}, nil)
		e := entry{at: time.Unix(1, 2).UTC(), stream: stdout, partial: partial, text: text}
		if onStderr {
			e.stream = stderr
		}
		line := appendEntry(nil, e)
		if len(line) > len(text)+overhead {
			t.Errorf("an entry is %d bytes longer than its text", len(line)-len(text))
		}
		back, err := parseEntry(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil || !back.at.Equal(e.at) || back.stream != e.stream || back.partial != partial || !bytes.Equal(back.text, text) {
			t.Errorf("%q was read as %+v, %v", line, back, err)
		}
	})
}
