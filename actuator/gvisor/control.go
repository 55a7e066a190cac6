package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/specutils"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandboxer/internal/infra"
	"sandboxer/observed"
)

// ErrUnknownContainer says that the sentry has no such container.
var ErrUnknownContainer = errors.New("the sentry knows no such container")

// ErrNoProcess says that nothing runs in the container. The sentry may not even
// know it.
var ErrNoProcess = errors.New("nothing runs in the container")

// ErrNoAnswer says that the sentry did not answer within the deadline, or
// can't be reached at all.
var ErrNoAnswer = errors.New("the sentry does not answer")

// Sentry is a running sandbox, reached through its control socket. The zero
// value is of no use; methods may be called from many goroutines, each call
// opens a connection of its own. Every call but Wait ends after Timeout at the
// latest.
type Sentry struct {
	// Process is the sentry's, for who acts on that: calls go to Socket.
	Process observed.Process
	Socket  string
	Timeout time.Duration
}

// Start is what StartContainer needs.
type Start struct {
	ID   string
	Spec *specs.Spec
	// Root and Mounts say, in the order of the gofer's sockets, how the root
	// and each bind mount of Spec are served.
	Mounts []specutils.GoferMountConf
	// Stdio is, where Spec says Terminal, one end of a terminal three times.
	Stdio [3]*os.File
	// Filestores back the writable layers, in the order of Mounts.
	Filestores []*os.File
	// Gofer holds the sentry's ends of the gofer's sockets.
	Gofer       []*os.File
	HostNetwork bool
}

// StartContainer makes a container inside the sandbox and runs its command.
// When it fails the sentry may know the container; Destroy takes it out.
func (s Sentry) StartContainer(ctx context.Context, a Start) error {
	if err := s.addContainer(ctx, boot.ContMgrStartSubcontainer, a); err != nil {
		return fmt.Errorf("starting container %s: %w", a.ID, err)
	}
	return nil
}

// addContainer makes a container known to the sandbox and hands it over by
// method.
func (s Sentry) addContainer(ctx context.Context, method string, a Start) error {
	conf, err := runscConfig(filepath.Dir(s.Socket), a.HostNetwork)
	if err != nil {
		return err
	}
	// A container that asks for them by name gets raw sockets.
	conf.EnableRaw = true
	create := struct{ CID string }{a.ID}
	stdio, terminal := a.Stdio[:], []*os.File(nil)
	if a.Spec.Process.Terminal {
		stdio, terminal = nil, a.Stdio[:1]
	}
	if err := s.call(ctx, boot.ContMgrCreateSubcontainer, &create, terminal, nil); err != nil {
		return err
	}
	args := struct {
		Spec                 *specs.Spec
		Conf                 *config.Config
		CID                  string
		NumGoferFilestoreFDs int
		GoferMountConfs      []specutils.GoferMountConf
	}{a.Spec, conf, a.ID, len(a.Filestores), a.Mounts}
	files := slices.Concat(stdio, a.Filestores, a.Gofer)
	return s.call(ctx, method, &args, files, nil)
}

// Destroy ends what is left of a container and takes it out of the sandbox;
// one that is not known is destroyed already.
func (s Sentry) Destroy(ctx context.Context, id string) error {
	err := s.call(ctx, boot.ContMgrDestroySubcontainer, &id, nil, nil)
	if errors.Is(err, ErrUnknownContainer) {
		return nil
	}
	return err
}

// Signal sends sig to a container's first process, or to all of them.
func (s Sentry) Signal(ctx context.Context, id string, sig unix.Signal, all bool) error {
	mode := boot.DeliverToProcess
	if all {
		mode = boot.DeliverToAllProcesses
	}
	return s.call(ctx, boot.ContMgrSignal, &boot.SignalArgs{CID: id, Signo: int32(sig), Mode: mode}, nil, nil)
}

// Pause freezes every task of the sandbox. Pauses add up: each needs a Resume.
func (s Sentry) Pause(ctx context.Context) error {
	return s.call(ctx, boot.ContMgrPause, nil, nil, nil)
}

// Resume undoes one Pause. A sandbox that is not paused must not be resumed:
// its sentry would panic.
func (s Sentry) Resume(ctx context.Context) error {
	return s.call(ctx, boot.ContMgrResume, nil, nil, nil)
}

// probeTime is how long a process that ends at once may take before its
// sandbox counts as paused. It takes a few milliseconds, and on a machine that
// is short of CPU far more: a resume too many would cost the sandbox.
const probeTime = 2 * time.Second

// Paused finds out whether the sandbox is frozen, for which gVisor has no
// question: it starts a process in the infra container that ends at once,
// unless it is frozen. In a paused sandbox that process ends after the resume.
func (s Sentry) Paused(ctx context.Context, infraID string) (bool, error) {
	args := struct {
		Filename    string   `json:"filename"`
		Argv        []string `json:"argv"`
		WD          string   `json:"wd"`
		ContainerID string
	}{infra.Command, []string{infra.Command, "probe"}, "/", infraID}
	var pid int32
	if err := s.call(ctx, boot.ContMgrExecuteAsync, &args, nil, &pid); err != nil {
		return false, err
	}
	ended, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var status uint32
	err := s.call(ended, boot.ContMgrWaitPID, &boot.WaitPIDArgs{PID: pid, CID: infraID}, nil, &status)
	if errors.Is(err, ErrNoAnswer) && ctx.Err() == nil && ended.Err() != nil {
		return true, nil
	}
	return false, err
}

// State says whether a container's first process runs.
func (s Sentry) State(ctx context.Context, id string) (boot.ContainerRuntimeState, error) {
	var state boot.ContainerRuntimeState
	err := s.call(ctx, boot.ContMgrContainerRuntimeState, &id, nil, &state)
	return state, err
}

// Wait returns the wait status of a container's first process when it has
// ended. It may be called again and again, also after the end, for as long as
// the sandbox lives. It has no deadline but ctx's.
func (s Sentry) Wait(ctx context.Context, id string) (unix.WaitStatus, error) {
	s.Timeout = 0
	var status uint32
	if err := s.call(ctx, boot.ContMgrWait, &id, nil, &status); err != nil {
		return 0, err
	}
	return endOf(status)
}

// call makes one call of gVisor's urpc protocol: a JSON object each way on a
// stream socket, files in the control message of the first byte. gVisor's own
// client has no deadline and keeps a thread in each call; this one waits in
// Go's poller.
func (s Sentry) call(ctx context.Context, method string, arg any, files []*os.File, result any) error {
	if s.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	conn, err := dial(ctx, s.Socket)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if err = send(conn, method, arg, files); err == nil {
		err = receive(conn, result)
	}
	return noAnswer(ctx, method, err)
}

// noAnswer makes an ErrNoAnswer of what is no answer.
func noAnswer(ctx context.Context, method string, err error) error {
	var netErr *net.OpError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w: %w", method, ErrNoAnswer, context.Cause(ctx))
	case errors.As(err, &netErr):
		return fmt.Errorf("%s: %w: %w", method, ErrNoAnswer, err)
	}
	return err
}

func send(conn *net.UnixConn, method string, arg any, files []*os.File) error {
	request, err := json.Marshal(struct {
		Method string `json:"method"`
		Arg    any    `json:"arg"`
	}{method, arg})
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(request, rights, nil)
	if err != nil {
		return err
	}
	if n < len(request) { // even a write of nothing fails where the peer has gone
		_, err = conn.Write(request[n:])
	}
	return err
}

// receive reads an answer. Descriptors that come with it go nowhere: nobody asks
// the kernel for them.
func receive(conn io.Reader, result any) error {
	var answer struct {
		Success bool            `json:"success"`
		Err     string          `json:"err"`
		Result  json.RawMessage `json:"result"`
	}
	if err := json.NewDecoder(io.LimitReader(conn, answerMax)).Decode(&answer); err != nil {
		return &net.OpError{Op: "read", Net: "unix", Err: err}
	}
	if !answer.Success {
		return remoteError(answer.Err)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, result)
}

// What a sentry may say, in bytes: it runs what nobody trusts, so it must not
// be able to fill the daemon's memory or a record with words.
const (
	answerMax = 1 << 20
	errorMax  = 4 << 10
)

// remoteError gives a type to what the sentry said in words.
func remoteError(text string) error {
	// Of what a checkpoint or a restore fails at it says what it was at work on,
	// and where in its program. Only the cause means something to a user.
	text, _, _ = strings.Cut(text, ":\ngoroutine ")
	if at := strings.LastIndex(text, "}: "); at >= 0 && strings.HasPrefix(text, "error serializing object ") {
		text = text[at+len("}: "):]
	}
	if len(text) > errorMax {
		text = strings.ToValidUTF8(text[:errorMax], "") + " …"
	}
	text = words(text)
	if strings.HasPrefix(text, "container ") && strings.HasSuffix(text, " not found") {
		return fmt.Errorf("%w: %s", ErrUnknownContainer, text)
	}
	// A signal for a container that is not known asks for its process 0.
	if strings.HasSuffix(text, " not started") || strings.HasSuffix(text, " has stopped") ||
		strings.Contains(text, "no such process") || strings.Contains(text, "no thread group found") {
		return fmt.Errorf("%w: %s", ErrNoProcess, text)
	}
	return errors.New(text)
}

// dialPause is how long a sentry to whom too many are connecting at once is
// left alone. The kernel does not say when it takes the next.
const dialPause = time.Millisecond

// dial connects to a socket whose path may be longer than a socket address
// can be (108 bytes): it goes through a descriptor of the socket's file.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd))
		switch {
		case err == nil:
			return conn.(*net.UnixConn), nil
		case !errors.Is(err, unix.EAGAIN):
			return nil, err
		}
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}
