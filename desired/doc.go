// Package desired turns directories of YAML manifests into the validated set
// of sandboxes that a host should run.
//
// It decodes strictly, names file, line and field in every error, keeps the
// last accepted version of whatever is broken, and decides when an absence is
// a removal. It knows no runtime, starts no process and imports no other
// package of this project than sealed and owner. The daemon runs one Directory;
// the command line uses ReadDir (validate, plan) and Schema.
//
// Three layers: Decode makes documents of one file's text; the scanner, told
// of changes by the watcher, reads folders into a scan; and decide, which is
// pure, makes the next Set of the last state and a scan. Directory joins them
// and writes the store behind. Events only wake it: every scan looks at
// everything again.
//
// All scans and decisions happen in the goroutine that calls Directory.Run;
// the watcher and the store have one each, which end with it. Values that the
// package hands out are shared and must not be changed by their readers.
package desired
