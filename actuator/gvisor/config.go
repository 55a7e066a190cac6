package gvisor

import (
	"fmt"

	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/flag"
)

// runscConfig is the configuration that sentry and containers get. dir is
// where the control socket goes.
func runscConfig(dir string, hostNetwork bool) (*config.Config, error) {
	flags := flag.NewFlagSet("runsc", flag.ContinueOnError)
	config.RegisterFlags(flags)
	network := "none"
	if hostNetwork {
		network = "host"
	}
	for name, value := range map[string]string{
		"root": dir,
		// systrap works everywhere; kvm hangs on some virtual machines.
		"platform": "systrap",
		"network":  network,
		"directfs": "true",
		// Overlays are chosen per mount by the actuator, not by this switch.
		"overlay2": "none",
		// The number of CPUs that an application sees follows its limit.
		"cpu-num-from-quota": "true",
		// A daemon that users trust with manifests does not tune their host.
		"host-settings": "ignore",
		"host-uds":      "none",
		// A container that brings its own filter of system calls gets it. gVisor
		// reads the switch of the infra container for what exec runs.
		"oci-seccomp": "true",
		// As in any container: noNewPrivileges is what forbids it.
		"allow-suid": "true",
		// This program is the sandbox process, see Create.Exe. gVisor is about to
		// make a program beside it the default, of the same release as itself.
		"sidecar-usage-policy":               string(config.SidecarUsageLegacyEmbedded),
		"sidecar-release-enforcement-policy": string(config.SidecarReleaseNever),
		// What follows are gVisor's defaults, said here since this project relies
		// on them whatever a later version makes of them. Volumes are shared with
		// the host and other sandboxes; a root is not.
		"file-access":             "exclusive",
		"file-access-mounts":      "shared",
		"host-fifo":               "none",
		"character-device-policy": "emulated-only",
		"in-sandbox-cgroup":       "v1",
		// A busy host is no reason to end a sandbox.
		"watchdog-action":         "log",
		"restore-spec-validation": "enforce",
		"net-disconnect-ok":       "true",
		"net-raw":                 "false", // but for containers, see StartContainer
		"iouring":                 "false",
		"allow-flag-override":     "false",
	} {
		if err := flags.Set(name, value); err != nil {
			return nil, fmt.Errorf("configuring gVisor: %s=%s: %w", name, value, err)
		}
	}
	conf, err := config.NewFromFlags(flags)
	if err != nil {
		return nil, fmt.Errorf("configuring gVisor: %w", err)
	}
	return conf, nil
}
