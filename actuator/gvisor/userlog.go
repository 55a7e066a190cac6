package gvisor

import (
	"context"
	"fmt"
	"os"

	"sandboxer/internal/sentry"
)

// LogTo has the sandbox write its user log, which Create.UserLog was at first, to
// another file.
func (s Sentry) LogTo(ctx context.Context, f *os.File) error {
	if err := s.sink(ctx, sentry.UserLogSink, nil, f); err != nil {
		return fmt.Errorf("setting the user log: %w", err)
	}
	return nil
}
