package actuator

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sandboxer/observed"
)

// workload is the program that runs in the tests' containers, program the one
// that is sentry and gofer: the test binary can't be, since a sentry
// has to be linked statically and the race detector is not.
var workload, program string

func TestMain(m *testing.M) {
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M) (int, error) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		return m.Run(), nil // each process that fuzzes would build it, and run none of it
	}
	if os.Geteuid() != 0 {
		return 0, fmt.Errorf("these tests need root")
	}
	dir, err := os.MkdirTemp("", "actuator-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	workload, program = filepath.Join(dir, "workload"), filepath.Join(dir, "sandboxer")
	// Before any reaper runs, which would take the compiler for an orphan.
	build := exec.Command("go", "build", "-o", dir, "sandboxer/examples/workload", "sandboxer/cmd/sandboxer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building what the tests run: %w: %s", err, out)
	}
	if err := observed.BecomeSubreaper(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
