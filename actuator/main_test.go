package actuator

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sandboxer/internal/role"
	"sandboxer/observed"
)

// workload is the program that runs in the tests' containers.
var workload string

// The test binary is also the launcher, the sentry and the gofers of the
// sandboxes that the tests make.
func TestMain(m *testing.M) {
	if status, ok := role.Run(os.Args); ok {
		os.Exit(status)
	}
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M) (int, error) {
	if os.Geteuid() != 0 {
		return 0, fmt.Errorf("these tests need root")
	}
	dir, err := os.MkdirTemp("", "actuator-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	workload = filepath.Join(dir, "workload")
	// Before any reaper runs, which would take the compiler for an orphan.
	build := exec.Command("go", "build", "-o", workload, "sandboxer/examples/workload")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the workload: %w: %s", err, out)
	}
	if err := observed.BecomeSubreaper(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
