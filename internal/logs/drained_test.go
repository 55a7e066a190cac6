package logs

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// Drained waits for what is in a pipe, for as long as it is given, and not for
// an instance that has none.
func TestDrained(t *testing.T) {
	dir := t.TempDir()
	l, err := New(Config{StateDir: filepath.Join(dir, "s"), DataDir: filepath.Join(dir, "d")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := l.Drained(ctx, "s", "c", "s.c.1"); err != nil {
		t.Errorf("no pipes: %v", err)
	}
	stdout, stderr, err := l.Open("s", "c", "s.c.1")
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	defer stderr.Close()
	if err := l.Close(); err != nil { // nobody reads any more
		t.Fatal(err)
	}
	if err := l.Drained(ctx, "s", "c", "s.c.1"); err != nil {
		t.Errorf("empty pipes: %v", err)
	}
	if _, err := stderr.WriteString("left\n"); err != nil {
		t.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancelShort()
	if err := l.Drained(short, "s", "c", "s.c.1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pipe that nobody reads: %v", err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := stderr.Read(make([]byte, 100)) // it is open for both
		read <- err
	}()
	if err := l.Drained(ctx, "s", "c", "s.c.1"); err != nil {
		t.Errorf("a pipe that is read: %v", err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}
