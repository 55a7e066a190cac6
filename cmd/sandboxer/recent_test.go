package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestRecent(t *testing.T) {
	var r recent
	if got := r.bytes(); len(got) != 0 {
		t.Errorf("before anything was logged: %q", got)
	}
	var all bytes.Buffer
	for i := range 10_000 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", i%70))
		all.WriteString(line)
		if n, err := r.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		got := r.bytes()
		if !bytes.HasSuffix(all.Bytes(), got) || !bytes.HasPrefix(got, []byte("line ")) || !bytes.HasSuffix(got, []byte(line)) {
			t.Fatalf("after line %d it is no end of what was logged: %.80q…", i, got)
		}
		if len(got) > recentBytes || all.Len() > recentBytes && len(got) < recentBytes-100 || all.Len() <= recentBytes && len(got) < all.Len() {
			t.Fatalf("after line %d, of %d bytes, %d are kept", i, all.Len(), len(got))
		}
	}
	if cap(r.kept) > 4*recentBytes {
		t.Errorf("it takes %d bytes", cap(r.kept))
	}
}
