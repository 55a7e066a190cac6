package gvisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/runsc/boot"
)

// Process is one process of a container. Its numbers count in the whole
// sandbox.
type Process struct {
	PID, PPID int // PPID 0: it was started from outside
	UID       uint32
	Threads   int
	CPU       time.Duration // used up so far, by it alone
	StartedAt time.Time
	RSS       int64    // bytes
	Args      []string // cut where they are very long
}

// The most that is read of a process, in bytes.
const (
	statMax    = 1 << 10
	cmdlineMax = 4 << 10
)

// numberMax is more than any number there: 87 years in ticks, and petabytes in pages.
const numberMax = 1 << 38

// listTimes is how many times the time of one call a list of processes may take.
const listTimes = 3

// ticks is the unit of times in /proc, as it is everywhere.
const tick = time.Second / 100

// Processes lists what runs in a container, by pid. A process that ends while
// it is looked at is left out.
func (s Sentry) Processes(ctx context.Context, id string) ([]Process, error) {
	// Each call has its time, and there may be many: not so all of them.
	ctx, cancel := context.WithTimeout(ctx, listTimes*s.Timeout)
	defer cancel()
	var answer json.RawMessage
	if err := s.call(ctx, boot.ContMgrProcesses, &id, nil, &answer); err != nil {
		return nil, err
	}
	found, err := processesOf(answer)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, nil
	}
	// The infra container's /proc is that of the whole sandbox.
	b, err := s.cat(ctx, statMax, "/proc/uptime")
	if err != nil {
		return nil, err
	}
	text, _, _ := strings.Cut(string(b), " ")
	up, err := uptimeOf(text)
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox's uptime: %w", err)
	}
	booted := time.Now().Add(-up)
	list := make([]Process, 0, len(found))
	for _, f := range found {
		p := Process{PID: int(f.PID), PPID: int(f.PPID), UID: uint32(f.UID), Threads: len(f.Threads)}
		dir := "/proc/" + strconv.Itoa(p.PID)
		// In one call, so that both are of the same process.
		b, err := s.cat(ctx, statMax+cmdlineMax, dir+"/stat", dir+"/cmdline")
		if errors.Is(err, ErrNoAnswer) {
			return nil, err
		}
		if err != nil {
			continue // it has ended
		}
		if err := p.parse(b, booted); err != nil {
			return nil, fmt.Errorf("reading process %d: %w", p.PID, err)
		}
		if len(p.Args) == 0 {
			p.Args = []string{"[" + f.Cmd + "]"} // a zombie
		}
		list = append(list, p)
	}
	return list, nil
}

// nameMax is how long the name of a process in its stat may be. It can hold
// anything, brackets and line ends too.
const nameMax = 15

// parse reads what is in a process's stat and, after it, in its cmdline.
func (p *Process) parse(b []byte, booted time.Time) error {
	head := strconv.Itoa(p.PID) + " ("
	window := min(len(b), len(head)+nameMax+1)
	closing := bytes.LastIndexByte(b[:window], ')')
	stat, cmdline, ok := bytes.Cut(b[max(closing, 0):], []byte{'\n'})
	fields := strings.Fields(string(stat))
	// From the closing bracket on, which is the second field of stat(5).
	const utime, stime, start, rss, all = 12, 13, 20, 22, 23
	if !bytes.HasPrefix(b, []byte(head)) || !ok || len(fields) < all {
		return fmt.Errorf("%.100q is not what is expected of its stat", b)
	}
	var n [rss + 1]int64
	for _, i := range []int{utime, stime, start, rss} {
		var err error
		if n[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return err
		}
		if n[i] < 0 || n[i] > numberMax {
			return fmt.Errorf("%d is not what is expected of its stat", n[i])
		}
	}
	p.CPU = time.Duration(n[utime]+n[stime]) * tick
	p.StartedAt = booted.Add(time.Duration(n[start]) * tick)
	p.RSS = n[rss] * int64(os.Getpagesize())
	if cmdline = bytes.TrimSuffix(cmdline, []byte{0}); len(cmdline) > 0 {
		p.Args = strings.Split(string(bytes.ToValidUTF8(cmdline, []byte("?"))), "\x00")
	}
	return nil
}

// cat returns the beginning of what files hold, one after the other, in the
// infra container.
func (s Sentry) cat(ctx context.Context, most int64, files ...string) ([]byte, error) {
	answer, end, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	// A sentry that keeps its end keeps nobody waiting for ever.
	stop := context.AfterFunc(ctx, func() { _ = answer.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var b []byte
	var readErr error
	read := make(chan struct{})
	go func() {
		defer close(read)
		b, readErr = io.ReadAll(io.LimitReader(answer, most))
		answer.Close() // who has more to say gets EPIPE
	}()
	err = s.call(ctx, "Fs.Cat", &control.CatOpts{Files: files}, []*os.File{end}, nil)
	end.Close()
	if errors.Is(err, ErrNoAnswer) {
		cancel()
	}
	<-read
	switch {
	case int64(len(b)) == most, err == nil && readErr == nil:
		return b, nil
	case readErr != nil:
		return nil, errors.Join(err, fmt.Errorf("%w: %w", ErrNoAnswer, readErr))
	}
	return nil, err
}
