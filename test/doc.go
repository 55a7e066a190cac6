// Package test shows the whole program from outside: the built binary, on real
// gVisor, as root. It imports nothing of the module, so that what scripts rely
// on (flags, exit codes, the names in the JSON) is held by somebody who does
// not share the types.
//
// Every test has a daemon of its own with directories, a socket and a cgroup
// parent of its own, so tests run side by side. When one ends, its manifests
// are taken away and nothing may be left: no process, cgroup, mount, socket or
// file. Waiting is done on the API's watch and never by sleeping.
//
// With SANDBOXER_TEST_RESYNC_ONLY=1 the daemons act on nothing but their
// resync. SANDBOXER_BIN names the binary; without it, one is built.
package test
