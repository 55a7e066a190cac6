package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"unsafe"
)

func talkCommands() []command {
	return []command{
		{"copy", "", "write what stdin brings to stdout, to its end", 0, copyAll},
		{"hold", "", "wait for a line from stdin", 0, hold},
		{"repeat", "", "say again one line from stdin", 0, repeat},
		{"unheard-of", "[NUMBER]", "ask for something that gVisor does not have, by a system call's number", 0, unheardOf},
		{"terminal", "", "say the size of the terminal that stdin is", 0, terminal},
		{"resizes", "", "say the terminal's size now and whenever it changes", 0, resizes},
		{"signals", "", "say each signal that comes, for ever", 0, signals},
		{"waits", "", "say of stdin, stdout and stderr whether reads and writes wait", 0, waits},
		{"hear", "", "from now on, say each SIGUSR1 that comes", 0, hear},
		{"leave-signals", "", "start a child that says each signal that comes, as child", 0, leaveSignals},
		{"raise", "NUMBER", "end by a signal", 1, raise},
	}
}

func copyAll([]string) error {
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

func hold([]string) error {
	_, err := line()
	return err
}

func repeat([]string) error {
	said, err := line()
	say(said)
	return err
}

// line reads no further than to the line's end.
func line() (said string, err error) {
	for b := make([]byte, 1); ; said += string(b) {
		if _, err := os.Stdin.Read(b); err != nil || b[0] == '\n' {
			return said, err
		}
	}
}

func unheardOf(args []string) (err error) {
	number := syscall.SYS_SETFSUID
	if len(args) > 0 {
		number, err = strconv.Atoi(args[0])
	}
	_, _, _ = syscall.Syscall(uintptr(number), 0, 0, 0)
	return err
}

func terminal([]string) error {
	var size struct{ rows, columns, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		say("terminal: none")
		return nil
	}
	say("terminal", strconv.Itoa(int(size.rows)), strconv.Itoa(int(size.columns)))
	return nil
}

func resizes([]string) error {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	for {
		if err := terminal(nil); err != nil {
			return err
		}
		<-changes
	}
}

func signals([]string) error {
	signal.Reset()
	all := make(chan os.Signal, 16)
	signal.Notify(all, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	say("waiting")
	for s := range all {
		say("got", s.String())
	}
	return nil
}

func hear([]string) error {
	usr1 := make(chan os.Signal, 16)
	signal.Notify(usr1, syscall.SIGUSR1)
	go func() {
		for s := range usr1 {
			say("got", s.String())
		}
	}()
	return nil
}

// leaveSignals returns when the child listens.
func leaveSignals([]string) error {
	child := exec.Command("/proc/self/exe", "signals")
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	go func() {
		for lines.Scan() {
			say("child", lines.Text())
		}
	}()
	return nil
}

func waits([]string) error {
	text := "waits"
	for fd := range uintptr(3) {
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
		if errno != 0 {
			return errno
		}
		text += " " + strconv.FormatBool(flags&syscall.O_NONBLOCK == 0)
	}
	say(text)
	return nil
}

func raise(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	signal.Reset()
	if err := syscall.Kill(os.Getpid(), syscall.Signal(n)); err != nil {
		return err
	}
	select {}
}
