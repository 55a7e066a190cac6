// Package sentry is the sandbox process: gVisor's own boot command, with what
// this project changes about it. It runs in a process of its own, which
// actuator/gvisor starts from this same program, as gVisor's sandbox.New would.
package sentry

import (
	"maps"
	"sync"
	_ "unsafe" // for linkname

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/pkg/sentry/watchdog"
	"gvisor.dev/gvisor/runsc/boot/filter"
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"

	"sandboxer/internal/filters"
)

// Arg0 is the name under which gVisor starts a sandbox process.
const Arg0 = "runsc-sandbox"

// Main is the sandbox process, or the helper that it starts to unmount /proc.
// It does not return.
func Main() {
	new(collector).rest()
	log.SetLevel(log.Warning) // nobody reads what is put together below it
	// It would wake to say there what it finds.
	watchdog.DefaultOpts.TaskTimeout, watchdog.DefaultOpts.StartupTimeout = 0, 0
	tracePoints.Do(func() {})
	waitForNobody()
	meterMemory()
	addFilters()
	limitTasks()
	limitDescriptors()
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot):   "",
		new(sentrycmd.Umount): "",
	}, nil)
}

// filterPrograms are what gVisor looks for before it builds a seccomp program.
// The module that Go downloads has none, and no way to add any. A gVisor
// without the variable does not link.
//
//go:linkname filterPrograms gvisor.dev/gvisor/runsc/boot/filter.precompiledPrograms
var filterPrograms map[string]precompiledseccomp.Program

// addFilters has gVisor find the programs that were built ahead of time.
func addFilters() {
	filter.ListPrecompiled() // makes the map, once
	maps.Copy(filterPrograms, filters.Sentry())
}

// tracePoints has gVisor list all that could be traced, once, in half a megabyte.
// The sessions that this project makes trace nothing. A gVisor without the
// variable does not link.
//
//go:linkname tracePoints gvisor.dev/gvisor/pkg/sentry/seccheck.initOnce
var tracePoints sync.Once
