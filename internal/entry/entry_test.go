package entry

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// A client that follows the program in its file begins in its place where one
// of its commands is asked for, and only then; and only if it is whole.
func TestClient(t *testing.T) {
	dir := t.TempDir()
	build := func(name, flags string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-ldflags", flags, "-o", path, "./testdata/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return path
	}
	program, client := build("probe", "-s -w -E=_rt0_sandboxer"), build("client", "-s -w -T 0x40001000")
	joined := filepath.Join(dir, "joined")
	if out, err := exec.Command("go", "run", "./join", program, client, joined).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole, err := os.ReadFile(joined)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"cut": whole[:len(whole)-1]} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		file, argv string
		client     bool
	}{
		{"joined", "x exec web -- daemon", true},
		{"joined", "x --socket get get a", true},
		{"joined", "x --socket=/s --socket /t ps", true},
		{"joined", "x --socket=/s wait", true},
		{"joined", "x", false},
		{"joined", "x exe", false},
		{"joined", "x execs", false},
		{"joined", "x --socket exec", false},
		{"joined", "x --socket", false},
		{"joined", "x daemon exec", false},
		{"joined", "x --help exec", false},
		{"joined", "sandboxer-gofer exec", false},
		{"joined", "runsc-sandbox exec", false},
		{"cut", "x exec", false},
		{"probe", "x exec", false},
	} {
		argv := strings.Fields(c.argv)
		run := exec.Command(filepath.Join(dir, c.file))
		run.Args, run.Env = argv, []string{"X=1", "Y="}
		out, err := run.CombinedOutput()
		want := fmt.Sprintf("true %q [\"X=1\" \"Y=\"]\n", argv[1:])
		if c.client {
			want = fmt.Sprintf("client %q [\"X=1\" \"Y=\"] 0 7\n", argv)
		}
		if err != nil || string(out) != want {
			t.Errorf("%s as %q: %q, %v; want %q", c.file, c.argv, out, err, want)
		}
	}
}
