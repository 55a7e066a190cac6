package main

import (
	"maps"
	"slices"
	_ "unsafe" // for linkname

	"gvisor.dev/gvisor/pkg/seccomp"
	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/pkg/sentry/platform/systrap"
	sentryconfig "gvisor.dev/gvisor/runsc/boot/filter/config"
	goferconfig "gvisor.dev/gvisor/runsc/fsgofer/filter/config"

	"sandboxer/gofer/serve"
	"sandboxer/internal/filters"
)

// gVisor's own generator builds hundreds of programs, for all that it can do.
// What it takes a single one from is not exported.

//go:linkname sentryRules gvisor.dev/gvisor/runsc/boot/filter/config.rules
func sentryRules(sentryconfig.Options, precompiledseccomp.Values) (seccomp.SyscallRules, seccomp.SyscallRules)

//go:linkname goferRules gvisor.dev/gvisor/runsc/fsgofer/filter/config.rules
func goferRules(goferconfig.Options, precompiledseccomp.Values) (seccomp.SyscallRules, seccomp.SyscallRules)

// pidVariable is gVisor's name for the lower half of the process's ID.
const pidVariable = "self_pid_low32bits"

// sentryOptions are those of all sentries: what actuator/gvisor configures.
func sentryOptions() []sentryconfig.Options {
	none := sentryconfig.Options{Platform: (*systrap.Systrap)(nil).SeccompInfo(), HostFilesystem: true}
	host := none
	host.HostNetwork = true
	return []sentryconfig.Options{none, host}
}

// goferOptions are those of all gofers.
func goferOptions() []goferconfig.Options {
	return []goferconfig.Options{serve.FilterOptions(false), serve.FilterOptions(true)}
}

func sentryPrograms() (filters.Programs, error) {
	all := filters.Programs{}
	for _, o := range sentryOptions() {
		program := func(v precompiledseccomp.Values) *seccomp.Program {
			allowed, denied := sentryRules(o, v)
			return sentryProgram(o, allowed, denied)
		}
		if err := add(all, o.ConfigKey(), o.Vars(), program); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func goferPrograms() (filters.Programs, error) {
	all := filters.Programs{}
	for _, o := range goferOptions() {
		program := func(v precompiledseccomp.Values) *seccomp.Program {
			return goferProgram(goferRules(o, v))
		}
		if err := add(all, o.ConfigKey(), o.Vars(), program); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func add(all filters.Programs, key string, variables precompiledseccomp.Values, program func(precompiledseccomp.Values) *seccomp.Program) error {
	p, err := precompiledseccomp.Precompile(key, slices.Collect(maps.Keys(variables)), program)
	all[key] = p
	return err
}

// sentryProgram is what gVisor's filter.Install of sentries makes of rules.
func sentryProgram(o sentryconfig.Options, allowed, denied seccomp.SyscallRules) *seccomp.Program {
	p := goferProgram(allowed, denied)
	p.Options = sentryconfig.SeccompOptions(o)
	return p
}

// goferProgram is what gVisor's filter.Install of gofers makes of rules.
func goferProgram(allowed, denied seccomp.SyscallRules) *seccomp.Program {
	return &seccomp.Program{RuleSets: []seccomp.RuleSet{
		{Rules: denied.Copy()},
		{Rules: allowed.Copy(), Action: seccomp.Allow},
	}}
}
