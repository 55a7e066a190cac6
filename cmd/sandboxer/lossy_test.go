package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestLossy writes more than there is room for while the reader is stuck.
func TestLossy(t *testing.T) {
	r, w := io.Pipe()
	l := newLossy(w)
	for i := range lossyLines + 10 { // one may be on its way
		fmt.Fprintf(l, "line %d\n", i)
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		read <- string(b)
	}()
	for l.lost > 0 {
		fmt.Fprintln(l, "later")
	}
	l.finish()
	w.Close()
	_, rest, found := strings.Cut(<-read, fmt.Sprintf("line %d\n", lossyLines-1))
	rest = strings.TrimPrefix(rest, fmt.Sprintf("line %d\n", lossyLines))
	if !found || !strings.HasPrefix(rest, "sandboxer: ") || !strings.HasSuffix(rest, "nobody read them\nlater\n") {
		t.Errorf("after what there was room for comes %q", rest)
	}
}
