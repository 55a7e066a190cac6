package goferbin

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os/exec"
	"testing"
)

// The program is unpacked into a file that can be executed; without one there
// is none.
func TestOpen(t *testing.T) {
	embedded := program
	defer func() { program = embedded }()
	program = nil
	if f, err := Open(); f != nil || err != nil {
		t.Fatalf("%v, %v, want nothing", f, err)
	}
	program = []byte("no gzip")
	if _, err := Open(); err == nil {
		t.Error("opened what is not packed")
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, "#!/bin/sh\necho it runs\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	program = b.Bytes()
	f, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/bin/sh", "/proc/self/fd/3")
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "it runs\n" {
		t.Errorf("%q, %v", out, err)
	}
}
