package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// held is a directory that was opened while it was nobody's.
type held struct {
	name           string
	dir, path, sub int
	file           int
	mapped         []byte
}

// hold opens directories, maps a file in each, enters the first, and waits for orders,
// until there is a file "end".
func hold(volume string, names []string) {
	debug.SetPanicOnFault(true)
	open := func(path string, flags int) int {
		fd, err := unix.Open(path, flags, 0)
		if err != nil {
			panic(fmt.Sprint(path, ": ", err))
		}
		return fd
	}
	var all []held
	for _, name := range names {
		at := filepath.Join(volume, name)
		h := held{
			name: name,
			dir:  open(at, unix.O_RDONLY|unix.O_DIRECTORY), path: open(at, unix.O_PATH),
			sub: open(at+"/sub", unix.O_RDONLY|unix.O_DIRECTORY), file: open(at+"/held.yaml", unix.O_RDWR),
		}
		var err error
		if h.mapped, err = unix.Mmap(h.file, 0, 100, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			panic(err)
		}
		_ = h.mapped[0] // by the host, too
		all = append(all, h)
	}
	if len(names) > 0 {
		if err := os.Chdir(filepath.Join(volume, names[0])); err != nil {
			panic(err)
		}
	}
	say(volume, "holding", "")
	for n := 0; ; n++ {
		for order := fmt.Sprint(volume, "/order-", n); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(order); err == nil {
				break
			}
			if _, err := os.Stat(volume + "/end"); err == nil {
				return
			}
		}
		var said strings.Builder
		for i, h := range all {
			h.attack(&said, i == 0)
		}
		say(volume, fmt.Sprint("said-", n), said.String())
	}
}

// say writes a file at once.
func say(volume, name, text string) {
	if err := os.WriteFile(volume+"/.new", []byte(text), 0o644); err != nil {
		panic(err)
	}
	if err := os.Rename(volume+"/.new", filepath.Join(volume, name)); err != nil {
		panic(err)
	}
}

// attack tries what a directory is good for.
func (h held) attack(to io.Writer, entered bool) {
	tell := func(what string, err error) {
		if err == nil {
			fmt.Fprintf(to, "WORKED %s in %s\n", what, h.name)
		}
	}
	plant := func(dir int, name string) {
		fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err == nil {
			_, err = unix.Write(fd, []byte("planted"))
			unix.Close(fd)
		}
		tell("making "+name, err)
	}
	plant(h.dir, "planted-dir")
	plant(h.path, "planted-path")
	plant(h.sub, "planted-sub")
	plant(h.sub, "../planted-up")
	if entered {
		plant(unix.AT_FDCWD, "planted-cwd")
	}
	_, err := unix.Pwrite(h.file, []byte("# planted by descriptor"), 0)
	tell("writing a file", err)
	tell("writing what is mapped", h.store())
	_ = unix.Fchmod(h.dir, 0o701) // the host sees it
	if fd, err := unix.Openat(h.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
		f := os.NewFile(uintptr(fd), h.name)
		if names, err := f.Readdirnames(-1); err == nil && len(names) > 0 {
			tell(fmt.Sprintf("listing %q", names), nil)
		}
		f.Close()
	}
	for _, name := range []string{"records.key", "sandboxes", "manifests", "held.yaml"} {
		fd, err := unix.Openat(h.dir, name, unix.O_RDONLY, 0)
		if err == nil {
			unix.Close(fd)
		}
		tell("opening "+name, err)
	}
}

func (h held) store() (err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("%v", failed)
		}
	}()
	copy(h.mapped[40:], "# planted by mapping")
	return nil
}
