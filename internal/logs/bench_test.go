package logs

import (
	"bytes"
	"testing"
)

// What a container that writes without pause costs.
func BenchmarkCarry(b *testing.B) {
	l, err := New(Config{StateDir: b.TempDir(), DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	out, errs, err := l.Open("web", "app", "id")
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	defer errs.Close()
	chunk := bytes.Repeat([]byte("a line of a usual length, as services write them to their logs\n"), 64)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := out.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
