// Package oci reads the specifications of OCI bundles and says what in them
// would not be carried out. Every property of the specification is decided
// here: carried out, left out since every sandbox has it so in any case, or
// refused by its name.
//
// It links no gVisor, so that the client can check bundles as the daemon does.
// It has no state.
package oci
