package entry

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A program that begins here is registered when its own code runs, and finds
// all that it was started with. One that was linked without the flag runs too.
func TestEntry(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, flags, registered string }{
		{"with", "-E=_rt0_sandboxer", "true"},
		{"stripped", "-s -w -E=_rt0_sandboxer", "true"},
		{"without", "", "false"},
	} {
		program := filepath.Join(dir, c.name)
		build := exec.Command("go", "build", "-ldflags", c.flags, "-o", program, "./testdata/probe")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		run := exec.Command(program, "a", "", "b c")
		run.Env = []string{"X=1", "Y="}
		out, err := run.CombinedOutput()
		if want := c.registered + ` ["a" "" "b c"] ["X=1" "Y="]` + "\n"; err != nil || string(out) != want {
			t.Errorf("%s the flag: %q, %v; want %q", c.name, out, err, want)
		}
	}
}
