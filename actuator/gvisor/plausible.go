package gvisor

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/control"
)

// A sentry that was taken over says what it likes. Of its own containers it is
// believed what could be; nothing that could not be gets any further.

// processesMax is more processes than an answer of answerMax bytes can tell of.
const processesMax = 8 << 10

// processesOf reads a list of processes.
func processesOf(answer json.RawMessage) ([]control.Process, error) {
	var each []json.RawMessage // what each costs once it is read is more than it costs to say
	if err := json.Unmarshal(answer, &each); err != nil {
		return nil, err
	}
	if len(each) > processesMax {
		return nil, fmt.Errorf("%w: it tells of %d processes, which can't be", ErrNoAnswer, len(each))
	}
	found := make([]control.Process, len(each))
	for i, one := range each {
		if err := json.Unmarshal(one, &found[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// uptimeOf reads how long a sandbox has been up.
func uptimeOf(text string) (time.Duration, error) {
	up, err := strconv.ParseFloat(text, 64)
	if err == nil && !(up >= 0 && up < math.MaxInt64/float64(time.Second)) {
		err = fmt.Errorf("%s is no time", text)
	}
	return time.Duration(up * float64(time.Second)), err
}

// endOf is a wait status that a process can end with.
func endOf(status uint32) (unix.WaitStatus, error) {
	end := unix.WaitStatus(status)
	if status > 0xffff || !end.Exited() && !(end.Signaled() && end.Signal() <= signalMax) {
		return 0, fmt.Errorf("%w: nothing ends with the wait status %#x", ErrNoAnswer, status)
	}
	return end, nil
}

// signalMax is the last of the real-time signals.
const signalMax = 64

// atLeastNone is an amount that is said to be used.
func atLeastNone[T int64 | uint64](n T) int64 {
	if n < 0 || uint64(n) > math.MaxInt64 {
		return 0
	}
	return int64(n)
}

// words are what a sentry says, in one line that commands no terminal and forges no
// line of a log.
func words(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !strconv.IsPrint(r):
			return '?'
		}
		return r
	}, text)
}
