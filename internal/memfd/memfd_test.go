package memfd

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

func TestDataReadsAndRefusesChange(t *testing.T) {
	f, err := Data("test", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "content" || err != nil {
		t.Errorf("read %q, error %v", b, err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if w, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("a sealed file was changed")
		}
		w.Close()
	}
	if err := exec.Command(path).Run(); err == nil {
		t.Error("data was executed")
	}
}

func TestProgramRuns(t *testing.T) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	f, err := Program("test", self)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "-test.run", "^$")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("running this test's program from memory: %v\n%s", err, out)
	}
}
