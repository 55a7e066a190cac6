package cgroup

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func BenchmarkCreateDelete(b *testing.B) {
	h := detect(b)
	top := parent(b, h)
	i := 0
	for b.Loop() {
		c := create(b, h, top+"/"+strconv.Itoa(i), Limits{MemoryBytes: 64 * mib, CPUQuota: 0.5})
		if err := c.Delete(b.Context()); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkSet(b *testing.B) {
	h := detect(b)
	c := create(b, h, parent(b, h), Limits{})
	for b.Loop() {
		if err := c.Set(Limits{MemoryBytes: 64 * mib, CPUQuota: 0.5}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProcs(b *testing.B) {
	h := detect(b)
	c := create(b, h, parent(b, h), Limits{})
	for b.Loop() {
		if _, err := c.Procs(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOOMKills(b *testing.B) {
	h := detect(b)
	c := create(b, h, parent(b, h), Limits{})
	for b.Loop() {
		if _, err := c.OOMKills(); err != nil {
			b.Fatal(err)
		}
	}
}

// How long it takes to have a process in no cgroup, in one as this package does
// it, and by moving it once it runs. The kernel is quick to move another right after
// one: a rest that does not count lies between them.
func BenchmarkStart(b *testing.B) {
	h := detect(b)
	c := create(b, h, parent(b, h), Limits{})
	dirs := h.dirs(c.name)
	if h.mode == V2 {
		dirs = []string{h.dir("", c.name)}
	}
	for name, start := range map[string]func(*exec.Cmd) error{
		"outside": (*exec.Cmd).Start,
		"joined":  func(cmd *exec.Cmd) error { return c.Start(cmd, (*exec.Cmd).Start) },
		"moved": func(cmd *exec.Cmd) error {
			if err := cmd.Start(); err != nil {
				return err
			}
			for _, dir := range dirs {
				f, err := c.openFile(dir+"/cgroup.procs", unix.O_WRONLY)
				if err != nil {
					return err
				}
				_, err = f.WriteString(strconv.Itoa(cmd.Process.Pid))
				f.Close()
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				time.Sleep(50 * time.Millisecond)
				b.StartTimer()
				cmd := exec.Command("/bin/cat")
				in, err := cmd.StdinPipe()
				if err != nil {
					b.Fatal(err)
				}
				if err := start(cmd); err != nil {
					b.Fatal(err)
				}
				in.Close()
				if err := cmd.Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
