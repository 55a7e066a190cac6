package entry

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A program that begins here finds all that it was started with. One that was
// linked without the flag runs too.
func TestEntry(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, flags string }{
		{"with", "-E=_rt0_sandboxer"},
		{"stripped", "-s -w -E=_rt0_sandboxer"},
		{"without", ""},
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
		if want := `["a" "" "b c"] ["X=1" "Y="]` + "\n"; err != nil || string(out) != want {
			t.Errorf("%s the flag: %q, %v; want %q", c.name, out, err, want)
		}
	}
}

// The helper of sentries unmounts when it is told to, and not when the sentry
// ends before; Go never runs in it.
func TestUnmount(t *testing.T) {
	program := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-ldflags", "-E=_rt0_sandboxer", "-o", program, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	if err := unix.Mount("entry", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // it is gone if all is well
	mounted, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tell := range []bool{false, true} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program)
		cmd.Args = []string{"/proc/self/exe", "umount", "--sync-fd=3", dir}
		cmd.ExtraFiles = []*os.File{r}
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if tell {
			_, _ = w.Write([]byte{0}) // the outcome shows
		}
		w.Close()
		if err := cmd.Wait(); (err == nil) != tell || out.Len() > 0 {
			t.Errorf("told: %v: %v, %q", tell, err, out.String())
		}
		now, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if gone := !os.SameFile(mounted, now); gone != tell {
			t.Errorf("told: %v, unmounted: %v", tell, gone)
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
		want := fmt.Sprintf("%q [\"X=1\" \"Y=\"]\n", argv[1:])
		if c.client {
			want = fmt.Sprintf("client %q [\"X=1\" \"Y=\"] 0 7\n", argv)
		}
		if err != nil || string(out) != want {
			t.Errorf("%s as %q: %q, %v; want %q", c.file, c.argv, out, err, want)
		}
	}
}
