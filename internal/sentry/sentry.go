// Package sentry is the sandbox process: gVisor's own boot command, with what
// this project changes about it. It runs in a process of its own, which
// gVisor's sandbox.New starts from this same program.
package sentry

import (
	"sync"
	_ "unsafe" // for go:linkname

	"github.com/google/subcommands"
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"

	// The platform whose variable is used below.
	_ "gvisor.dev/gvisor/pkg/sentry/platform/systrap"
)

// Arg0 is the name under which gVisor starts a sandbox process.
const Arg0 = "runsc-sandbox"

// latencyMonitoring starts systrap's fast path controller, a loop that wakes
// every 400 µs for ever, idle or not (gvisor #13361): 4 % of a core for every
// idle sandbox. A newer gVisor parks the loop; one without this variable does
// not link, so this can't outlive its reason unseen.
//
//go:linkname latencyMonitoring gvisor.dev/gvisor/pkg/sentry/platform/systrap.latencyMonitoring
var latencyMonitoring sync.Once

// Main is the sandbox process, or the helper that it starts to unmount /proc.
// It does not return.
func Main() {
	latencyMonitoring.Do(func() {})
	meterMemory()
	cli.Run(map[subcommands.Command]string{
		new(command):    "",
		new(cmd.Umount): "",
	}, nil)
}
