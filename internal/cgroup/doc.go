// Package cgroup makes, limits, empties and removes the host's cgroups of
// sandboxes, on cgroup v1 (legacy and hybrid hosts) and on v2.
//
// It never moves the process that calls it: processes are started in a cgroup
// (Cgroup.Start). It signals nothing by a bare pid, and refuses to kill a cgroup
// that holds its caller.
// It is called by the actuator and, for reading, by whoever looks at sandboxes.
//
// Host and Cgroup hold no state beside names, so that all methods may be
// called from many goroutines; what happens to one cgroup at once (Create
// beside Delete, say) is for the caller to order.
package cgroup
