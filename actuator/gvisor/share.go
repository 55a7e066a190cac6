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

// ShareShm makes the sandbox's own /dev/shm, which a container's mount of ShmKey
// is. One that is there stays as it is.
func (s Sentry) ShareShm(ctx context.Context) error {
	if err := s.sink(ctx, sentry.ShmSink, nil); err != nil {
		return fmt.Errorf("making the sandbox's /dev/shm: %w", err)
	}
	return nil
}

// ShmKey is by what the sandbox knows its /dev/shm.
const ShmKey = sentry.ShmKey

// ShareMount is a container's mount of what its sandbox shares by key.
func ShareMount(key, destination string, readOnly bool, options ...string) specs.Mount {
	access := "rw"
	if readOnly {
		access = "ro"
	}
	return specs.Mount{Type: sentry.ShareType, Source: sentry.ShareSource(key), Destination: destination, Options: append(options, access)}
}
