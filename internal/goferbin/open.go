package goferbin

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"

	"sandboxer/internal/memfd"
)

// Open returns the gofer's program as a file in memory that can be executed
// for as long as it is open, or nil where there is none.
func Open() (*os.File, error) {
	if len(program) == 0 {
		return nil, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("unpacking the gofer: %w", err)
	}
	return memfd.Program("sandboxer-gofer", z)
}
