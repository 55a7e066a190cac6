package serve

import (
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/sync"
)

// What lisafs keeps to itself, and a relay needs of the server behind it, is
// reached here. A version of gVisor that has it no more makes these panic, in
// the first test that takes over.

// setNextNumber sets the number that a server gives out next.
func setNextNumber(served *lisafs.Connection, id lisafs.FDID) {
	mu := member[sync.RWMutex](served, "fdsMu")
	mu.Lock()
	defer mu.Unlock()
	*member[lisafs.FDID](served, "nextFDID") = id
}

// controlFD is what a number stands for; false where that is no file or
// directory.
func controlFD(served *lisafs.Connection, id lisafs.FDID) (*lisafs.ControlFD, bool) {
	mu := member[sync.RWMutex](served, "fdsMu")
	mu.RLock()
	defer mu.RUnlock()
	fd := reflect.ValueOf(served).Elem().FieldByName("fds").MapIndex(reflect.ValueOf(id))
	if !fd.IsValid() || fd.Elem().Type() != reflect.TypeFor[*lisafs.ControlFD]() {
		return nil, false
	}
	return (*lisafs.ControlFD)(fd.Elem().UnsafePointer()), true
}

// hostFD is the descriptor that a server has open for a file or directory.
func hostFD(served *lisafs.Connection, id lisafs.FDID) (int, bool) {
	fd, ok := controlFD(served, id)
	if !ok {
		return -1, false
	}
	impl := reflect.ValueOf(fd).Elem().FieldByName("impl").Elem()
	return int(impl.Elem().FieldByName("hostFD").Int()), true
}

func member[T any](served *lisafs.Connection, name string) *T {
	field := reflect.ValueOf(served).Elem().FieldByName(name)
	if !field.IsValid() || field.Type() != reflect.TypeFor[T]() {
		panic("gofer: lisafs.Connection has another " + name)
	}
	return (*T)(unsafe.Pointer(field.UnsafeAddr()))
}
