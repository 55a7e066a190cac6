package infra

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/erofs"

	"sandboxer/internal/tinyelf"
)

// The image is read back with gVisor's own reader, the one that will map it.
func TestImageReadsBack(t *testing.T) {
	f, err := File()
	if err != nil {
		t.Fatal(err)
	}
	img, err := erofs.OpenImage(f)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	root, err := img.Inode(img.RootNid())
	if err != nil {
		t.Fatal(err)
	}
	if !root.IsDir() {
		t.Fatal("root is not a directory")
	}
	for _, name := range []string{"dev", "proc", "sys", "tmp"} {
		nid, err := root.Lookup(name)
		if err != nil {
			t.Errorf("looking up %s: %v", name, err)
			continue
		}
		if ino, err := img.Inode(nid); err != nil || !ino.IsDir() {
			t.Errorf("%s: directory %v, error %v", name, ino.IsDir(), err)
		}
	}
	nid, err := root.Lookup("pause")
	if err != nil {
		t.Fatal(err)
	}
	ino, err := img.Inode(nid)
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := ino.DataRanges()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, r := range ranges {
		part, err := img.BytesAt(r.Off, r.Size)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	if string(b) != string(tinyelf.Program(pauseCode)) {
		t.Error("pause does not read back as written")
	}
}

// The program runs on the host too: it waits until it is killed.
func TestPauseWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(path, tinyelf.Program(pauseCode), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("pause ended by itself: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v, want SIGKILL", ws)
	}
}

// With an argument it ends at once.
func TestPauseEndsWithArgument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(path, tinyelf.Program(pauseCode), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(path, "probe").Run(); err != nil {
		t.Fatal(err)
	}
}
