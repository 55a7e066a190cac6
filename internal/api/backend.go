package api

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"sandboxer/internal/events"
	"sandboxer/internal/logs"
)

// ErrNotFound is what a Backend returns, wrapped or not, for a sandbox or
// container that it does not know; the server answers 404.
var ErrNotFound = errors.New("not found")

// ErrInvalid marks a request that can't be carried out as it stands; the
// server answers 400 with the error's text.
var ErrInvalid = errors.New("invalid request")

// Backend is what the server asks. Every method may be called from many
// goroutines at once and returns soon after its context is done. Values that
// it returns are not changed by anyone afterwards.
type Backend interface {
	// Health returns nil while the daemon works, else why it does not.
	Health(ctx context.Context) error

	// Refresh reads the manifests and looks at a sandbox anew, so that what is
	// returned from then on is not older than the call. It fails when ctx is done.
	Refresh(ctx context.Context, name string) error
	// Sandboxes returns every sandbox, rejected documents and held deletions
	// included, sorted by name.
	Sandboxes() []Sandbox
	// Sandbox returns one, or ErrNotFound.
	Sandbox(name string) (Sandbox, error)
	// Watch calls send for every sandbox as it is now, then for every change,
	// until ctx is done or send fails; it returns that error. With a name it is
	// that sandbox alone, and where there is none, that is what is sent first.
	// Changes of one sandbox that come faster than send returns are merged into
	// the latest.
	Watch(ctx context.Context, name string, send func(Change) error) error
	// Describe returns everything about one sandbox, or ErrNotFound.
	Describe(ctx context.Context, name string) (Description, error)

	// Events returns the kept events, oldest first; sandbox "" means all.
	Events(sandbox string) []events.Event
	// FollowEvents calls send for every kept event, then for every new one,
	// until ctx is done or send fails.
	FollowEvents(ctx context.Context, sandbox string, send func(events.Event) error) error
	// Logs writes what a container wrote. The server has made sure that the
	// sandbox has such a container.
	Logs(ctx context.Context, sandbox, container string, o logs.Options, w io.Writer) error

	// Restart asks for containers of a sandbox to be started anew that began
	// before now, or for their gofers, and returns that instant. It does not
	// wait. Wrap ErrInvalid where nothing is declared to run.
	Restart(ctx context.Context, sandbox string, containers []string, gofers bool) (time.Time, error)
	// Exec runs a command in a container, reading and writing stdio, and
	// returns the descriptor from which its ExecEnd can be read. The server has
	// made sure that the sandbox has such a container; an *Error with code 409
	// says that no command can be run in it at present.
	Exec(ctx context.Context, sandbox, container string, r ExecRequest, stdio [3]*os.File) (ExecStarted, *os.File, error)
	// Attach connects to a container's command, with the same errors.
	Attach(sandbox, container string) (Attachment, error)
	// Processes lists what runs in a sandbox, by container name.
	Processes(ctx context.Context, sandbox string) (map[string][]Process, error)
	// Stats says what a sandbox uses now; code 409 where it does not run.
	Stats(ctx context.Context, sandbox string) (Stats, error)
	// Kill signals a container or one of its processes, with the same errors.
	Kill(ctx context.Context, sandbox, container string, r KillRequest) error
	// Checkpoint writes a checkpoint of a running sandbox, which goes on as it
	// was, into path, which is absolute and clean.
	Checkpoint(ctx context.Context, sandbox, path string) (Checkpoint, error)

	// DebugState says how the daemon itself stands. It answers also where parts of
	// it hang, and before the daemon is ready.
	DebugState(ctx context.Context) DebugState
	// RecentLog is the end of the daemon's own log; empty where nothing is kept.
	RecentLog() []byte

	// ConfirmDeletions lets deletions that the guard holds go ahead, those of
	// names or, without any, all, and says which, sorted.
	ConfirmDeletions(ctx context.Context, names []string) (Confirmation, error)
	// Plan says what would be done if paths (absolute; none: the daemon's own)
	// were the manifests, and changes nothing. Wrap ErrInvalid for a path that
	// can't be read.
	Plan(ctx context.Context, paths []string) (Plan, error)
}
