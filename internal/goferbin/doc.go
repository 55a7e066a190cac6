// Package goferbin carries the gofer's own small program inside the daemon's
// binary, where it was built with one (make does, with the build tag
// embedgofer and the file gofer.gz made from sandboxer-gofer). A binary that
// was built without works the same: its gofers are the binary itself.
package goferbin
