// Package gvisor makes and controls gVisor sandboxes on gVisor's own packages.
//
// A sentry is started as gVisor's sandbox.New would, which changes the process
// that calls it (limits, descriptors, standard files). Control speaks to running sentries
// through their control sockets, every call with a deadline. The package keeps
// no state between calls and knows neither records nor plans: package actuator
// calls it.
package gvisor
