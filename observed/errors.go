package observed

import "errors"

// Errors by meaning; what is returned wraps them and says more.
var (
	// ErrGone: the process has ended, or its pid now belongs to another one.
	ErrGone = errors.New("process is gone")
	// ErrLocked: another process holds the state directory.
	ErrLocked = errors.New("state directory is in use")
	// ErrName: not a name that a record can have.
	ErrName = errors.New("invalid name")
)
