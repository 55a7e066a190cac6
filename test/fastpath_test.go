package test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Sentries of busy sandboxes that share the processors are told to do without
// gVisor's fast path, and do; they get it back when that is over. While no daemon
// runs they keep what they were told, and the next one tells them anew.
func TestFastPathInACrowd(t *testing.T) {
	w := newWorld(t)
	w.binary = builtPlainly(t)
	w.start()
	names := []string{"one", "two"}
	declare := func(busy bool) {
		t.Helper()
		for _, name := range names {
			spec := "containers:\n- " + box("app", "sleep")
			if busy {
				spec += "\n- " + box("load", "spin 86400")
			}
			w.declare(name, spec)
		}
	}
	declare(false)
	at := spins(t, w.binary)
	sentries, usual := map[string]int{}, map[string]spinning{}
	for _, name := range names {
		sentries[name] = w.running(name).Status.SandboxPID
		// Its beginning may have been work enough for a crowd, where others work.
		if !poll(func() bool {
			usual[name] = at(sentries[name])
			return usual[name].Limit != 0 && usual[name].Timeout != 0
		}) {
			t.Fatalf("%s begins without: %+v", name, usual[name])
		}
	}
	all := func(of func(name string) spinning) bool {
		for _, name := range names {
			if at(sentries[name]) != of(name) {
				return false
			}
		}
		return true
	}
	without := func(string) spinning { return spinning{} }
	with := func(name string) spinning { return usual[name] }
	expect := func(when string, of func(name string) spinning) {
		t.Helper()
		if !w.until(func() bool { return all(of) }) {
			t.Fatalf("%s: one has %+v, two %+v; they began with %+v", when, at(sentries["one"]), at(sentries["two"]), usual)
		}
	}

	// Something else that takes what there is makes it a crowd on any number of
	// processors.
	burn(t)
	declare(true)
	expect("in a crowd", without)
	declare(false)
	expect("after it", with)
	declare(true)
	expect("in the next crowd", without)
	w.kill()
	declare(false)
	if !all(without) {
		t.Errorf("without a daemon: one has %+v, two %+v", at(sentries["one"]), at(sentries["two"]))
	}
	w.start()
	expect("with the next daemon", with)
	for _, name := range names {
		if pid := w.running(name).Status.SandboxPID; pid != sentries[name] {
			t.Errorf("%s has another sentry", name)
		}
	}
}

// spinning is what gVisor looks at each time before it spins.
type spinning struct {
	Limit   uint32
	Timeout uint64
}

// spins reads it in running sentries of a program.
func spins(t *testing.T, program string) func(sentry int) spinning {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	const systrap = "gvisor.dev/gvisor/pkg/sentry/platform/systrap."
	address := map[string]int64{}
	for _, s := range symbols {
		address[s.Name] = int64(s.Value)
	}
	return func(sentry int) (s spinning) {
		t.Helper()
		memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", sentry))
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		b := make([]byte, 8)
		read := func(name string, size int) []byte {
			at, ok := address[systrap+name]
			if !ok {
				t.Fatalf("%s has no %s", program, name)
			}
			if _, err := memory.ReadAt(b[:size], at); err != nil {
				t.Fatalf("reading %s of sentry %d: %v", name, sentry, err)
			}
			return b[:size]
		}
		s.Limit = binary.NativeEndian.Uint32(read("fastPathContextLimit", 4))
		s.Timeout = binary.NativeEndian.Uint64(read("deepSleepTimeout", 8))
		return s
	}
}

// unstripped is the program as go build makes it, with the names of its variables in
// it: the one that is tested, or one that is built once.
var unstripped = sync.OnceValues(func() (string, error) {
	if f, err := elf.Open(sandboxer); err == nil {
		defer f.Close()
		if _, err := f.Symbols(); err == nil {
			return sandboxer, nil
		}
	}
	path := filepath.Join(base, "plain")
	build := exec.Command("go", "build", "-o", path, "sandboxer/cmd/sandboxer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// builtPlainly is unstripped where it could be built.
func builtPlainly(t *testing.T) string {
	t.Helper()
	path, err := unstripped()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// burn has processes use up the processors until the test ends.
func burn(t *testing.T) {
	t.Helper()
	for range runtime.NumCPU() {
		cmd := exec.Command(filepath.Join(rootfs, "w"), "spin", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill() // it ends in no other way
			_ = cmd.Wait()
		})
	}
}
