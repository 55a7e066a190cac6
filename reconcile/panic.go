package reconcile

import (
	"fmt"
	"runtime/debug"
)

// PanicError is a panic that cost the one sandbox that it was met with a step,
// and nobody else anything.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("this is a fault of sandboxer's, please report it with the stack that is in the daemon's log: %v", e.Value)
}

// Contain makes a panic of the function that defers it the error that the
// function returns.
func Contain(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{v, debug.Stack()}
	}
}
