package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

func serveCommands() []command {
	return []command{
		{"serve", "PORT [FILE]", "from now on, answer HTTP requests on PORT: with 200, or with 503 while FILE is not there", 1, serve},
		{"deaf", "PORT", "from now on, take TCP connections on PORT and say nothing", 1, deaf},
	}
}

// serve returns when it can be connected to.
func serve(args []string) error {
	fd, err := listenTCP(args[0])
	if err != nil {
		return err
	}
	go func() {
		_ = acceptEach(fd, func(conn int) { answer(conn, args[1:]) }) // until the program ends
	}()
	return nil
}

func deaf(args []string) error {
	_, err := listenTCP(args[0])
	return err
}

// They speak to the kernel themselves: package net would double the program.

func listenTCP(port string) (int, error) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	return fd, syscall.Listen(fd, 16)
}

// answer reads a request's head and writes the answer. Whoever asked may have
// gone.
func answer(conn int, file []string) {
	defer syscall.Close(conn)
	var head []byte
	for buf := make([]byte, 4096); !bytes.Contains(head, []byte("\r\n\r\n")); {
		n, err := syscall.Read(conn, buf)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
		head = append(head, buf[:n]...)
	}
	status, body := "200 OK", "all is well\n"
	if len(file) > 0 {
		if _, err := os.Stat(file[0]); err != nil {
			status, body = "503 Service Unavailable", file[0]+" is not there\n"
		}
	}
	_, _ = syscall.Write(conn, []byte("HTTP/1.1 "+status+"\r\nContent-Type: text/plain\r\nConnection: close\r\nDate: "+
		time.Now().UTC().Format(time.RFC1123)+"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body))
}
