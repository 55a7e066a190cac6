package main

import "syscall"

func socketCommands() []command {
	return []command{
		{"listen", "SOCKET [FILE]", "send back to everybody who connects to SOCKET what they send, for ever or until FILE is there", 1, listen},
		{"dial", "SOCKET", "connect to SOCKET and send back what comes, to its end", 1, dial},
	}
}

// They speak to the kernel themselves: package net would double the program.

func listen(args []string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: args[0]}); err != nil {
		say("refused:", err.Error())
		return nil
	}
	if err := syscall.Listen(fd, 16); err != nil {
		return err
	}
	say("listening")
	ended := make(chan error)
	go func() { ended <- acceptAll(fd) }()
	if len(args) > 1 {
		go func() { ended <- await(args[1:]) }()
	}
	return <-ended
}

func acceptAll(fd int) error {
	return acceptEach(fd, func(conn int) {
		_ = echo(conn) // whoever it was has gone
	})
}

// acceptEach hands everybody who connects to do, which closes the connection.
func acceptEach(fd int, do func(conn int)) error {
	for {
		conn, _, err := syscall.Accept(fd)
		if err == syscall.EINTR {
			continue // the runtime signals its own threads
		}
		if err != nil {
			return err
		}
		go do(conn)
	}
}

func dial(args []string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := again(func() error { return syscall.Connect(fd, &syscall.SockaddrUnix{Name: args[0]}) }); err != nil {
		say("refused:", err.Error())
		return nil
	}
	say("connected")
	return echo(fd)
}

// echo sends back what comes.
func echo(fd int) error {
	defer syscall.Close(fd)
	for buf := make([]byte, 4096); ; {
		n, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return err
		}
		for b := buf[:n]; len(b) > 0; {
			n, err := syscall.Write(fd, b)
			if err != nil && err != syscall.EINTR {
				return err
			}
			b = b[max(n, 0):]
		}
	}
}
