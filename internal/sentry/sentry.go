// Package sentry is the sandbox process: gVisor's own boot command, with what
// this project changes about it. It runs in a process of its own, which
// gVisor's sandbox.New starts from this same program.
package sentry

import (
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"
)

// Arg0 is the name under which gVisor starts a sandbox process.
const Arg0 = "runsc-sandbox"

// Main is the sandbox process, or the helper that it starts to unmount /proc.
// It does not return.
func Main() {
	meterMemory()
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot):   "",
		new(sentrycmd.Umount): "",
	}, nil)
}
