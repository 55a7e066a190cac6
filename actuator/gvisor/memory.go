package gvisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/internal/sentry"
)

// Memory returns how much memory containers use, in bytes by ID: what is their
// processes' own or in file systems that live in memory, and not what they have
// mapped of the host's files. A container that is not known uses none. It takes
// a millisecond, and longer after a large allocation.
func (s Sentry) Memory(ctx context.Context, ids []string) (map[string]int64, error) {
	answer, end, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	defer end.Close()
	if s.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	args := struct {
		Config seccheck.SessionConfig
		Force  bool // in place of the last question's
	}{seccheck.SessionConfig{
		Name:  seccheck.DefaultSessionName,
		Sinks: []seccheck.SinkConfig{{Name: sentry.MemorySink, Config: map[string]any{"containers": ids}}},
	}, true}
	err = s.call(ctx, boot.ContMgrCreateTraceSession, &args, []*os.File{end}, nil)
	end.Close() // what is read ends with what the sentry has written
	if err != nil {
		return nil, fmt.Errorf("asking for memory in use: %w", err)
	}
	// It has been written. But a sentry runs what nobody trusts, and may have
	// kept its end open and written nothing.
	stop := context.AfterFunc(ctx, func() { _ = answer.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var used map[string]int64
	if err := json.NewDecoder(io.LimitReader(answer, answerMax)).Decode(&used); err != nil {
		return nil, fmt.Errorf("%w: reading memory in use: %w", ErrNoAnswer, err)
	}
	return used, nil
}
