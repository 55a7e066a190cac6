// Package desired turns directories of YAML manifests into the validated set
// of sandboxes that a host should run.
//
// It decodes strictly, names file, line and field in every error, keeps the
// last accepted version of whatever is broken, and decides when an absence is
// a removal. It knows no runtime, starts no process and imports no other
// package of this project. The daemon runs one Directory; the command line
// uses Decode alone (validate). Values that it hands out are shared and must
// not be changed by their readers.
package desired
