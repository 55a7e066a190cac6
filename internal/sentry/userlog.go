package sentry

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
)

// UserLogSink names what has gVisor write its user log to another file: a sink,
// in gVisor's words, of a trace session that traces nothing. The file is the one
// that came along.
const UserLogSink = "sandboxer-user-log"

// userLogFlag is how gVisor's boot command is told of the descriptor, which all
// that writes to the user log has by its number.
const userLogFlag = "--user-log-fd="

// setUserLog is the sink's constructor.
func setUserLog(_ map[string]any, to *fd.FD) (seccheck.Sink, error) {
	if to == nil {
		return nil, errors.New("no file to write to")
	}
	defer to.Close()
	for _, arg := range os.Args {
		value, found := strings.CutPrefix(arg, userLogFlag)
		if !found {
			continue
		}
		number, err := strconv.Atoi(value)
		if err != nil {
			return nil, err
		}
		if err := unix.Dup3(to.FD(), number, unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("dup3: %w", err)
		}
		return sink{}, nil
	}
	return nil, errors.New("the sandbox was made without a user log")
}
