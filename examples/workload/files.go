package main

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func fileCommands() []command {
	return []command{
		{"read", "FILE", "write the content of FILE to stdout", 1, read},
		{"write", "FILE TEXT…", "make TEXT the content of FILE", 1, write},
		{"try-write", "FILE", "say whether FILE can be written", 1, tryWrite},
		{"count", "FILE", "add one to the number in FILE and say it", 1, count},
		{"await", "FILE", "wait until FILE is there", 1, await},
		{"succeed-at", "N FILE", "count in FILE and end with 1 unless that gives N or more", 2, succeedAt},
		{"fill", "FILE [MIB]", "write to FILE, so much or until that fails; say how far and why", 1, fill},
		{"churn", "FILE DIR", "work on FILE and in DIR and check every byte, for ever", 2, churn},
		{"map", "FILE", "map FILE and read all of it there", 1, mapFile},
		{"list", "DIR", "say what is in DIR, a line each", 1, list},
		{"mkdir", "DIR", "make DIR", 1, func(a []string) error { return os.Mkdir(a[0], 0o755) }},
		{"remove", "PATH", "remove PATH and all below", 1, func(a []string) error { return os.RemoveAll(a[0]) }},
	}
}

func read(args []string) error {
	b, err := os.ReadFile(args[0])
	_, _ = os.Stdout.Write(b)
	return err
}

func write(args []string) error {
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o644)
}

func tryWrite(args []string) error {
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE, 0o644)
	if err == nil {
		_, err = f.WriteString("x")
	}
	if err != nil {
		say("denied:", reason(err))
		return nil
	}
	say("written")
	return f.Close()
}

func count(args []string) error {
	b, err := os.ReadFile(args[0])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b))) // a new file counts from 0
	err = os.WriteFile(args[0], []byte(strconv.Itoa(n+1)+"\n"), 0o644)
	say("count", strconv.Itoa(n+1))
	return err
}

func await(args []string) error {
	for {
		if _, err := os.Stat(args[0]); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func succeedAt(args []string) error {
	if err := count(args[1:]); err != nil {
		return err
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	b, err := os.ReadFile(args[1])
	if n, _ := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n < want {
		err = errors.New("not yet")
	}
	return err
}

func fill(args []string) error {
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	most := math.MaxInt
	if len(args) > 1 {
		mib, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		most = mib << 20
	}
	block := make([]byte, 64<<10)
	for total := 0; ; {
		if total >= most {
			say("filled", strconv.Itoa(total))
			return nil
		}
		n, err := f.Write(block)
		total += n
		if err != nil {
			say("filled", strconv.Itoa(total), "then", reason(err))
			return nil
		}
	}
}

func mapFile(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	sum := 0
	for i := 0; i < len(b); i += 4096 {
		sum += int(b[i])
	}
	say("mapped", strconv.Itoa(len(b)), "bytes, sum", strconv.Itoa(sum))
	return nil
}

func list(args []string) error {
	entries, err := os.ReadDir(args[0])
	for _, e := range entries {
		say("entry", e.Name())
	}
	say("entries", strconv.Itoa(len(entries)))
	return err
}

// reason is an error without the path and the operation.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
