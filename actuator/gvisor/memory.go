package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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
	var used map[string]int64
	if err := s.ask(ctx, sentry.MemorySink, map[string]any{"containers": ids}, &used); err != nil {
		return nil, fmt.Errorf("asking for memory in use: %w", err)
	}
	asked := make(map[string]int64, len(ids))
	for _, id := range ids {
		if n, ok := used[id]; ok {
			asked[id] = atLeastNone(n)
		}
	}
	return asked, nil
}

// ask calls a sink that writes an answer.
func (s Sentry) ask(ctx context.Context, name string, config map[string]any, to any) error {
	answer, end, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answer.Close()
	defer end.Close()
	if s.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	err = s.sink(ctx, name, config, end)
	end.Close() // what is read ends with what the sentry has written
	if err != nil {
		return err
	}
	// It has been written. But a sentry runs what nobody trusts, and may have
	// kept its end open and written nothing.
	stop := context.AfterFunc(ctx, func() { _ = answer.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewDecoder(io.LimitReader(answer, answerMax)).Decode(to); err != nil {
		return fmt.Errorf("%w: reading its answer: %w", ErrNoAnswer, err)
	}
	return nil
}

// ErrNotThere says that the sandbox was made by an earlier version, which can't do
// what is asked for.
var ErrNotThere = errors.New("the sandbox was made by a version that can't do that")

// sink makes the sentry's process call what this project has put there under
// that name: gVisor takes it for a trace session, in place of the last one. The
// error wraps ErrNotThere where nothing was put there.
func (s Sentry) sink(ctx context.Context, name string, config map[string]any, files ...*os.File) error {
	args := struct {
		Config seccheck.SessionConfig
		Force  bool // in place of the last one
	}{seccheck.SessionConfig{
		Name:  seccheck.DefaultSessionName,
		Sinks: []seccheck.SinkConfig{{Name: name, Config: config}},
	}, true}
	err := s.call(ctx, boot.ContMgrCreateTraceSession, &args, files, nil)
	if err != nil && strings.HasSuffix(err.Error(), fmt.Sprintf("sink %q not found", name)) {
		return fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	return err
}

// LimitTasks bounds how many tasks containers have, by their IDs without the
// last part; it replaces what was said before.
func (s Sentry) LimitTasks(ctx context.Context, limits map[string]sentry.Tasks) error {
	if err := s.sink(ctx, sentry.TasksSink, map[string]any{"limits": limits}); err != nil {
		return fmt.Errorf("limiting the tasks of containers: %w", err)
	}
	return nil
}

// LimitStorage bounds the writable layers of containers that run, by name; it
// replaces what was said before.
func (s Sentry) LimitStorage(ctx context.Context, limits map[string]sentry.Storage) error {
	if err := s.sink(ctx, sentry.StorageSink, map[string]any{"limits": limits}); err != nil {
		return fmt.Errorf("limiting the writable layers of containers: %w", err)
	}
	return nil
}

// Storage tells what is in containers' writable layers, by name.
func (s Sentry) Storage(ctx context.Context) (map[string]sentry.StorageUse, error) {
	var used map[string]sentry.StorageUse
	if err := s.ask(ctx, sentry.StorageSink, nil, &used); err != nil {
		return nil, fmt.Errorf("asking for storage in use: %w", err)
	}
	return used, nil
}

// FastPath has the sentry wait for its applications, and these for it, by
// spinning, or not.
func (s Sentry) FastPath(ctx context.Context, on bool) error {
	if err := s.sink(ctx, sentry.FastPathSink, map[string]any{"on": on}); err != nil {
		return fmt.Errorf("switching the fast path: %w", err)
	}
	return nil
}
