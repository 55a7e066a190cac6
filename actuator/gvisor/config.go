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
