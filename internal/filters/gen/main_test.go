package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/bpf"
	"gvisor.dev/gvisor/pkg/seccomp"
	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	sentryconfig "gvisor.dev/gvisor/runsc/boot/filter/config"
	goferconfig "gvisor.dev/gvisor/runsc/fsgofer/filter/config"

	"sandboxer/internal/filters"
)

func TestMain(m *testing.M) {
	switch os.Args[0] {
	case partArg0:
		main()
		return
	case compareArg0:
		if err := compareAll(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// compareArg0 is the name of a process that compares, with the process ID that
// it has.
const compareArg0 = "sandboxer-filters-compare"

// For every set of options that sentries and gofers are started with, what is
// installed is, to the byte, what gVisor would build: in a process with some ID,
// and in the first one of a PID namespace, which a sentry is.
func TestSameAsBuilt(t *testing.T) {
	for _, flags := range []uintptr{0, syscall.CLONE_NEWPID} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args[0] = compareArg0
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("namespaces %#x: %v: %s", flags, err, out)
		}
	}
}

func compareAll() error {
	built, err := build()
	if err != nil {
		return err
	}
	for _, o := range sentryOptions() {
		for _, o.ControllerFD = range []uint32{3, 17} {
			allowed, denied := sentryconfig.Rules(o)
			p := &seccomp.Program{
				RuleSets: []seccomp.RuleSet{{Rules: denied}, {Rules: allowed, Action: seccomp.Allow}},
				Options:  sentryconfig.SeccompOptions(o),
			}
			if err := compare(built.Sentry, o.ConfigKey(), o.Vars(), p); err != nil {
				return err
			}
		}
	}
	for _, o := range goferOptions() {
		allowed, denied := goferconfig.Rules(o)
		p := &seccomp.Program{RuleSets: []seccomp.RuleSet{{Rules: denied}, {Rules: allowed, Action: seccomp.Allow}}}
		if err := compare(built.Gofer, o.ConfigKey(), o.Vars(), p); err != nil {
			return err
		}
	}
	return nil
}

func compare(from filters.Programs, key string, variables precompiledseccomp.Values, p *seccomp.Program) error {
	ahead, ok := from[key]
	if !ok {
		return fmt.Errorf("no program for %s", key)
	}
	got, err := ahead.RenderInstructions(variables)
	if err != nil {
		return err
	}
	want, _, err := p.Build()
	if err != nil {
		return err
	}
	if !slices.Equal(bpf.ToBytecode(got), bpf.ToBytecode(want)) {
		return fmt.Errorf("process %d: not what gVisor builds for %s", os.Getpid(), key)
	}
	return nil
}
