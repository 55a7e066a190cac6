package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// followed starts following and returns the lines as they come.
func followed(t *testing.T, l *Logs, o Options) (*bufio.Reader, <-chan error) {
	t.Helper()
	o.Follow = true
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := l.Read(t.Context(), "web", "app", o, w)
		w.Close()
		ended <- err
	}()
	return bufio.NewReader(r), ended
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err != nil && err != io.EOF || got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

// Following goes on over instances, until it is said that none will come any
// more; what was written before that comes still.
func TestFollowGoesOnOverInstances(t *testing.T) {
	l := open(t, Config{})
	over := make(chan struct{})
	r, ended := followed(t, l, Options{Tail: All, Until: over}) // before there is a log
	for n := range 3 {
		id, out, _ := start(t, l, n+1)
		for i := range 50 {
			line := fmt.Sprintf("line %d of %d\n", i, n)
			if _, err := out.WriteString(line); err != nil {
				t.Fatal(err)
			}
			expect(t, r, line)
		}
		late, lateEnded := followed(t, l, Options{Tail: 1, Until: over})
		expect(t, late, fmt.Sprintf("line 49 of %d\n", n))
		if n < 2 {
			finish(t, l, id)
			go io.Copy(io.Discard, late)
			defer func() { <-lateEnded }()
			continue
		}
		fmt.Fprint(out, strings.Repeat("last\n", 1000))
		close(over)
		for range 1000 {
			expect(t, late, "last\n")
			expect(t, r, "last\n")
		}
		expect(t, late, "")
		expect(t, r, "")
		if err := errors.Join(<-ended, <-lateEnded); err != nil {
			t.Error(err)
		}
	}
}

func TestFollowGoesOnOverRotation(t *testing.T) {
	l := open(t, Config{MaxFile: 1 << 10})
	id, out, _ := start(t, l, 1)
	r, ended := followed(t, l, all)
	for i := range 200 { // in step, so that no more than one turn is behind
		line := fmt.Sprintf("line %d\n", i)
		fmt.Fprint(out, line)
		expect(t, r, line)
	}
	finish(t, l, id)
	if err := l.Remove("web"); err != nil {
		t.Fatal(err)
	}
	expect(t, r, "")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSlowFollowerIsToldWhatItMissed(t *testing.T) {
	l := open(t, Config{MaxFile: 4 << 10})
	id, out, _ := start(t, l, 1)
	fmt.Fprintln(out, "first")
	over := make(chan struct{})
	r, ended := followed(t, l, Options{Tail: All, Until: over})
	expect(t, r, "first\n")
	for i := range 5000 { // the reader does not read: its writer blocks
		fmt.Fprintf(out, "line %d\n", i)
	}
	finish(t, l, id)
	close(over)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("[sandboxer] "+tooSlow+"\n")) || !bytes.HasSuffix(b, []byte("line 4999\n")) {
		t.Errorf("read %d bytes ending in %q", len(b), b[max(0, len(b)-40):])
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFollowEndsWithItsReader(t *testing.T) {
	l := open(t, Config{})
	_, out, _ := start(t, l, 1)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- l.Read(ctx, "web", "app", Options{Tail: All, Follow: true}, w) }()
	fmt.Fprintln(out, "here")
	expect(t, bufio.NewReader(r), "here\n")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
	r2, w2 := io.Pipe()
	r2.Close()
	if err := l.Read(t.Context(), "web", "app", Options{Tail: All, Follow: true}, w2); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("with a reader that is gone: %v", err)
	}
}
