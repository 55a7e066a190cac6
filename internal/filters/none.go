//go:build !precompiled

package filters

// No gVisor has this version.
const builtFor = "none"

func sentry() Programs { return nil }
func gofer() Programs  { return nil }
