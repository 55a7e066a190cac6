package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// burst is how long one kind of operation is repeated: short enough for many
// bursts to be over before anything else wants the processor.
const burst = 4 * time.Millisecond

// speed does operations of one kind after the other for ever, and writes a line
// for every burst: when it began (ns since 1970), the kind, counted from 0, and
// how long one operation took (ns).
func speed(dir string) error {
	log, err := os.OpenFile(dir+"/speed", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	kinds, err := speedKinds(dir)
	if err != nil {
		return err
	}
	for {
		for kind, do := range kinds {
			began := time.Now()
			n := 0
			for time.Since(began) < burst {
				if err := do(); err != nil {
					return err
				}
				n++
			}
			took := time.Since(began) / time.Duration(n)
			if _, err := fmt.Fprintln(log, began.UnixNano(), kind, took.Nanoseconds()); err != nil {
				return err
			}
		}
	}
}

// speedKinds are what is done, in the order that the benchmark knows them by.
// Each does enough of it for the clock not to count.
func speedKinds(dir string) ([]operation, error) {
	files, err := unasked(dir)
	if err != nil {
		return nil, err
	}
	dd, err := copying()
	if err != nil {
		return nil, err
	}
	pipe, err := piping()
	if err != nil {
		return nil, err
	}
	web, err := loopback()
	if err != nil {
		return nil, err
	}
	return []operation{
		func() error { _, err := each(files, 1); return err },
		dd,
		func() error { syscall.Getppid(); return nil },
		futexes(),
		pipe,
		web,
	}, nil
}

// copying is what dd does with a block size of 1.
func copying() (operation, error) {
	from, err := syscall.Open("/dev/zero", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	to, err := syscall.Open("/dev/null", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	b := make([]byte, 1)
	return func() error {
		if _, err := syscall.Read(from, b); err != nil {
			return err
		}
		_, err := syscall.Write(to, b)
		return err
	}, err
}

// futexes is a round trip between two threads that wait for each other.
func futexes() operation {
	var turn atomic.Uint32
	wait := func(while uint32) {
		for turn.Load() == while {
			syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&turn)), futexWaitPrivate, uintptr(while), 0, 0, 0)
		}
	}
	pass := func(to uint32) {
		turn.Store(to)
		syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&turn)), futexWakePrivate, 1, 0, 0, 0)
	}
	go func() {
		runtime.LockOSThread()
		for {
			wait(0)
			pass(0)
		}
	}()
	return func() error {
		pass(1)
		wait(1)
		return nil
	}
}

const futexWaitPrivate, futexWakePrivate = 128, 129

// piping is a round trip of one byte between two threads.
func piping() (operation, error) {
	var there, back [2]int
	if err := syscall.Pipe2(there[:], syscall.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := syscall.Pipe2(back[:], syscall.O_CLOEXEC); err != nil {
		return nil, err
	}
	go func() {
		runtime.LockOSThread()
		b := make([]byte, 1)
		for {
			_, err := syscall.Read(there[0], b)
			check(err)
			_, err = syscall.Write(back[1], b)
			check(err)
		}
	}()
	b := make([]byte, 1)
	return func() error {
		if _, err := syscall.Write(there[1], b); err != nil {
			return err
		}
		_, err := syscall.Read(back[0], b)
		return err
	}, nil
}

// loopback is a request to a web server in the same sandbox.
func loopback() (operation, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		check(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ok") // the client notices
		})))
	}()
	url := "http://" + l.Addr().String() + "/"
	return func() error {
		answer, err := http.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}, nil
}

// busy works without a rest for ever and writes a line for every window: when it
// ended (ns since 1970), and how many operations were done in it.
func busy(dir string) error {
	log, err := os.OpenFile(dir+"/busy", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	work, err := unasked(dir)
	if err != nil {
		return err
	}
	work = append(work, func() error { syscall.Getppid(); return nil })
	for {
		ends, done := time.Now().Add(5*window), 0
		for time.Now().Before(ends) {
			if _, err := each(work, 1); err != nil {
				return err
			}
			done += len(work)
		}
		if _, err := fmt.Fprintln(log, time.Now().UnixNano(), done); err != nil {
			return err
		}
	}
}
