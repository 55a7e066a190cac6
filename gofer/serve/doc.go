// Package serve is the gofer process: it opens files for one container on
// behalf of the sentry, isolated from everything else on the host.
//
// The daemon starts it (package gofer) in new ipc, mount, network, pid, user
// and uts namespaces and in its cgroup, with nothing but donated descriptors.
// It builds a root that holds the container's mounts and nothing more, pivots
// into it, drops capabilities, installs gVisor's seccomp filter for gofers and
// serves lisafs until every socket is closed.
//
// It must not import what links the sentry: a program of this package alone
// starts in a fraction of the time. It runs in a process of its own and is
// called by nobody but Main's caller.
package serve
