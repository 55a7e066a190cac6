// Command probe is what runs in the benchmark's sandboxes. Its first act is to
// create a file, whose name the benchmark waits for; it needs nothing of the
// root file system that it is put into.
//
//	probe idle FILE    create FILE, then wait for SIGTERM
//	probe again BASE   the first time create BASE.1, wait a little, create
//	                   BASE.end as the last act; the second time create BASE.2
//	                   and wait for SIGTERM
//	probe end ANY      end
//	probe pour BASE    create BASE, write 320000 lines of 100 bytes to stdout,
//	                   each in a write of its own, create BASE.end and wait
//	                   for SIGTERM
//	probe stalls FILE  create FILE, then tell in /dir/stalls how long file
//	                   operations take at most, until SIGTERM
//	probe rounds FILE  create FILE, then tell in /dir/rounds how long file
//	                   operations take, until SIGTERM
//	probe speed FILE   create FILE, then tell in /dir/speed how long operations of
//	                   several kinds take, until SIGTERM
//	probe busy FILE    create FILE, then work without a rest and tell in /dir/busy
//	                   how much was done, until SIGTERM
//
// File operations are done in /dir, a volume, and on /file, a volume that is
// one file.
package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// firstRun is how long the first run of "again" lasts, so that starting it is
// over and done with before it ends.
const firstRun = 300 * time.Millisecond

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	base := os.Args[2]
	switch os.Args[1] {
	case "idle":
		check(mark(base))
	case "again":
		err := mark(base + ".1")
		if err == nil {
			time.Sleep(firstRun)
			check(mark(base + ".end"))
			return
		}
		if !errors.Is(err, fs.ErrExist) {
			check(err)
		}
		check(mark(base + ".2"))
	case "pour":
		check(mark(base))
		check(pour())
		check(mark(base + ".end"))
	case "end":
		return
	case "stalls":
		check(mark(base))
		go func() { check(stalls("/dir", "/file")) }()
	case "rounds":
		check(mark(base))
		go func() { check(rounds("/dir", "/file")) }()
	case "speed":
		check(mark(base))
		go func() { check(speed("/dir")) }()
	case "busy":
		check(mark(base))
		go func() { check(busy("/dir")) }()
	default:
		os.Exit(2)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
}

func pour() error {
	line := bytes.Repeat([]byte("x"), 100)
	line[len(line)-1] = '\n'
	for range 320_000 {
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// mark creates a file that must not exist yet.
func mark(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func check(err error) {
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n") // there is nobody else to tell
		os.Exit(1)
	}
}
