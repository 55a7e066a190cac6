package test

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"debug/gosym"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What make builds begins before Go does. It would work all the same without
// that, and start more slowly.
func TestEntryPoint(t *testing.T) {
	t.Parallel()
	want := "_rt0_sandboxer"
	if filepath.Dir(sandboxer) == base { // built here, plainly
		want = "_rt0_" + runtime.GOARCH + "_linux"
	}
	f, err := elf.Open(sandboxer)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A stripped program has this table too.
	functions, text := f.Section(".gopclntab"), f.Section(".text")
	if functions == nil || text == nil {
		t.Fatal("it has no table of its functions")
	}
	data, err := functions.Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		t.Fatal(err)
	}
	got := table.PCToFunc(f.Entry)
	if got == nil {
		t.Fatalf("nothing is known of its entry point, %#x", f.Entry)
	}
	if got.Entry != f.Entry || got.Name != want {
		t.Errorf("it begins in %s, want %s: see the Makefile's LDFLAGS", got.Name, want)
	}
}

// The client's commands start without gVisor in what the Makefile builds, and
// the others, which need it, with it.
func TestClientAlone(t *testing.T) {
	t.Parallel()
	for command, with := range map[string]bool{"exec": false, "get": false, "stats": false, "daemon": true} {
		cmd := exec.Command(sandboxer, command, "--help")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("Usage:")) {
			t.Fatalf("%s: %v, %s", command, err, out)
		}
		with = with || filepath.Dir(sandboxer) == base // built here, plainly
		if got := bytes.Contains(out, []byte("init gvisor.dev/")); got != with {
			t.Errorf("%s starts with gVisor: %v, want %v", command, got, with)
		}
	}
}

// What make builds has its seccomp programs built ahead of time. It would build
// them at every start without them.
func TestProgramsAhead(t *testing.T) {
	t.Parallel()
	info, err := buildinfo.ReadFile(sandboxer)
	if err != nil {
		t.Fatal(err)
	}
	var tags string
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			tags = s.Value
		}
	}
	made := filepath.Dir(sandboxer) != base // else built here, plainly
	if got := strings.Contains(tags, "precompiled"); got != made {
		t.Errorf("it is built with the tags %q", tags)
	}
}
