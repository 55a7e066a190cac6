package serve

import (
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/sync"
)

// What lisafs keeps to itself, and a relay needs of the server behind it, is
// reached here. A version of gVisor that has it no more makes these panic, in
// the first test that takes over. The server serves nobody but the relay, which
// does not wait for an answer while it calls them.

// setNextNumber sets the number that a server gives out next.
func setNextNumber(served *lisafs.Connection, id lisafs.FDID) {
	mu := member[sync.RWMutex](served, "fdsMu")
	mu.Lock()
	defer mu.Unlock()
	*member[lisafs.FDID](served, "nextFDID") = id
}

func member[T any](served *lisafs.Connection, name string) *T {
	field := reflect.ValueOf(served).Elem().FieldByName(name)
	if !field.IsValid() || field.Type() != reflect.TypeFor[T]() {
		panic("gofer: lisafs.Connection has another " + name)
	}
	return (*T)(unsafe.Pointer(field.UnsafeAddr()))
}
