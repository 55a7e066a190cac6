package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// witness counts, and has everything that a process can have count along: its
// memory, a child at the other end of a pipe, a TCP connection to itself, and
// files that it opened once, one of them removed since. It ends with an error
// as soon as any of them has lost count.
func witness(paths []string) error {
	var files []*os.File
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	removed, err := os.Create(paths[0] + ".removed")
	if err != nil {
		return err
	}
	if err := os.Remove(removed.Name()); err != nil {
		return err
	}
	child, err := startEcho()
	if err != nil {
		return err
	}
	connection, err := connectToSelf()
	if err != nil {
		return err
	}
	memory := make([]byte, 1<<20)
	for n := 1; ; n++ {
		for i := range memory {
			if memory[i] != byte(n-1) {
				return errors.New("memory has lost count")
			}
			memory[i] = byte(n)
		}
		for _, f := range append(files, removed) {
			if err := countIn(f, n); err != nil {
				return err
			}
		}
		if err := child(n); err != nil {
			return fmt.Errorf("the child: %w", err)
		}
		if err := connection(n); err != nil {
			return fmt.Errorf("the connection: %w", err)
		}
		say("step", strconv.Itoa(n))
		time.Sleep(50 * time.Millisecond)
	}
}

// countIn appends a line to a file in which there is one for each step before.
func countIn(f *os.File, n int) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if want := int64(8 * (n - 1)); st.Size() != want {
		return fmt.Errorf("%s has lost count: %d bytes, not %d", f.Name(), st.Size(), want)
	}
	_, err = fmt.Fprintf(f, "%07d\n", n)
	return err
}

// startEcho starts a child that answers each number with the sum of all.
func startEcho() (func(int) error, error) {
	cmd := exec.Command("/proc/self/exe", "sum")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	answers := bufio.NewReader(out)
	return func(n int) error {
		if _, err := fmt.Fprintln(in, n); err != nil {
			return err
		}
		line, err := answers.ReadString('\n')
		if err == nil && strings.TrimSpace(line) != strconv.Itoa(n*(n+1)/2) {
			err = fmt.Errorf("has lost count: %q after %d", line, n)
		}
		return err
	}, nil
}

func sum([]string) error {
	total := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		total += n
		say(strconv.Itoa(total))
	}
	return nil
}

// connectToSelf makes a TCP connection over the loopback interface and returns
// what sends a number through it. Package net would double the program.
func connectToSelf() (func(int) error, error) {
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Bind(listener, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := syscall.Listen(listener, 1); err != nil {
		return nil, err
	}
	address, err := syscall.Getsockname(listener)
	if err != nil {
		return nil, err
	}
	client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	// One that is interrupted goes on by itself.
	if err := again(func() error { return syscall.Connect(client, address) }); err != nil && err != syscall.EALREADY && err != syscall.EISCONN {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	server := 0
	if err := again(func() (err error) { server, _, err = syscall.Accept(listener); return err }); err != nil {
		return nil, fmt.Errorf("accepting: %w", err)
	}
	return func(n int) error {
		text := fmt.Sprintf("%07d", n)
		if err := whole([]byte(text), func(b []byte) (int, error) { return syscall.Write(client, b) }); err != nil {
			return err
		}
		got := make([]byte, len(text))
		if err := whole(got, func(b []byte) (int, error) { return syscall.Read(server, b) }); err != nil {
			return err
		}
		if string(got) != text {
			return fmt.Errorf("has lost count: %q after %d", got, n)
		}
		return nil
	}, nil
}

// again does something until no signal interrupts it: the runtime sends its own
// threads some.
func again(do func() error) error {
	for {
		if err := do(); err != syscall.EINTR {
			return err
		}
	}
}

// whole reads or writes all of b.
func whole(b []byte, some func([]byte) (int, error)) error {
	for len(b) > 0 {
		n := 0
		if err := again(func() (err error) { n, err = some(b); return err }); err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it was closed")
		}
		b = b[n:]
	}
	return nil
}
