package gvisor

import (
	"context"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandboxer/internal/sentry"
)

// Share makes a volume known to the sandbox that a gofer serves behind a socket,
// as one file system for all containers whose specifications have a mount of
// it, see ShareMount. One that is known by that key stays as it is.
func (s Sentry) Share(ctx context.Context, key string, socket *os.File) error {
	if err := s.sink(ctx, sentry.ShareSink, map[string]any{"key": key}, socket); err != nil {
		return fmt.Errorf("sharing volume %s: %w", key, err)
	}
	return nil
}

// ShareMount is a container's mount of a volume that its sandbox shares.
func ShareMount(key, destination string, readOnly bool) specs.Mount {
	access := "rw"
	if readOnly {
		access = "ro"
	}
	return specs.Mount{Type: sentry.ShareType, Source: sentry.ShareSource(key), Destination: destination, Options: []string{access}}
}
