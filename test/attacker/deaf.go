package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// deaf has what waits for it wait for ever: who looks up a path in DIR/fuse or
// DIR/over, and who opens DIR/pipe.
func deaf(dir string) {
	at := filepath.Join(dir, "fuse")
	must(os.MkdirAll(at, 0o755))
	must(unix.Mkfifo(filepath.Join(dir, "pipe"), 0o755))
	device, err := unix.Open("/dev/fuse", unix.O_RDWR, 0)
	must(err)
	// gVisor asks at the mount, and waits in the first that looks.
	must(unix.Mount("silent", at, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device)))
	request := make([]byte, 1<<17)
	_, err = unix.Read(device, request)
	must(err)
	// struct fuse_out_header and struct fuse_init_out, with the request's number.
	answer := make([]byte, 16+64)
	answer[0] = byte(len(answer))
	copy(answer[8:16], request[8:16])
	answer[16], answer[20] = 7, 31 // the version
	answer[16+20+1] = 0x10         // max_write: 4096
	_, err = unix.Write(device, answer)
	must(err)
	go func() { _, _ = os.Stat(filepath.Join(at, "look")) }()
	if _, err := unix.Read(device, request); err != nil { // somebody waits, with what is locked
		log.Fatal(err)
	}
	over := filepath.Join(dir, "over")
	must(os.Mkdir(over, 0o755))
	mounted := make(chan error, 1)
	go func() { mounted <- unix.Mount("o", over, "overlay", 0, "lowerdir="+at+":"+dir) }()
	if err := <-mounted; err == nil {
		go func() { _, _ = os.Stat(filepath.Join(over, "look")) }()
	}
	fmt.Println("deaf")
	for {
		time.Sleep(time.Hour)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
