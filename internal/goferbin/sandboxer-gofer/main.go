// The Go runtime would keep two files of the host's cgroup open.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command sandboxer-gofer is a gofer and nothing else. It links no sentry, so
// it starts in a fraction of the time, and with a fraction of the memory, that
// the whole program would take in the same role.
package main

import (
	"os"

	"sandboxer/gofer/serve"
)

func main() { os.Exit(serve.Main()) }
