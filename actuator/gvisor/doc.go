// Package gvisor makes and controls gVisor sandboxes on gVisor's own packages.
//
// Launch is the short-lived process in which a sandbox is created: gVisor's
// sandbox.New changes the process that calls it (limits, descriptors, standard
// files), so it never runs in the daemon. Control speaks to running sentries
// through their control sockets, every call with a deadline. The package keeps
// no state between calls and knows neither records nor plans: package actuator
// calls it.
package gvisor
