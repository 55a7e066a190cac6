package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/internal/sentry"
)

// ErrNoShares says that a sandbox, which an earlier version has made, knows no
// volumes that its containers share.
var ErrNoShares = errors.New("the sandbox's containers share no volumes")

// Share makes a volume known to the sandbox that a gofer serves behind a socket,
// as one file system for all containers whose specifications have a mount of
// it, see ShareMount. One that is known by that key stays as it is.
func (s Sentry) Share(ctx context.Context, key string, socket *os.File) error {
	args := struct {
		Config seccheck.SessionConfig
		Force  bool // in place of the last one
	}{seccheck.SessionConfig{
		Name:  seccheck.DefaultSessionName,
		Sinks: []seccheck.SinkConfig{{Name: sentry.ShareSink, Config: map[string]any{"key": key}}},
	}, true}
	err := s.call(ctx, boot.ContMgrCreateTraceSession, &args, []*os.File{socket}, nil)
	if err != nil && strings.Contains(err.Error(), fmt.Sprintf("%q not found", sentry.ShareSink)) {
		return ErrNoShares
	}
	if err != nil {
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
