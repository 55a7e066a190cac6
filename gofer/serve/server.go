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

// hostFD is the descriptor that a server has open for a number; false where
// the number is not that of a file or directory.
func hostFD(served *lisafs.Connection, id lisafs.FDID) (int, bool) {
	mu := member[sync.RWMutex](served, "fdsMu")
	mu.RLock()
	defer mu.RUnlock()
	fd := reflect.ValueOf(served).Elem().FieldByName("fds").MapIndex(reflect.ValueOf(id))
	if !fd.IsValid() || fd.Elem().Type() != reflect.TypeFor[*lisafs.ControlFD]() {
		return -1, false
	}
	return int(fd.Elem().Elem().FieldByName("impl").Elem().Elem().FieldByName("hostFD").Int()), true
}

func member[T any](served *lisafs.Connection, name string) *T {
	field := reflect.ValueOf(served).Elem().FieldByName(name)
	if !field.IsValid() || field.Type() != reflect.TypeFor[T]() {
		panic("gofer: lisafs.Connection has another " + name)
	}
	return (*T)(unsafe.Pointer(field.UnsafeAddr()))
}
