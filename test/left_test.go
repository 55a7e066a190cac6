package test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroupDirs are the directories of every cgroup whose path begins with
// prefix, in every hierarchy, deepest first.
func cgroupDirs(prefix string) []string {
	var dirs []string
	for _, top := range hierarchies() {
		matches, _ := filepath.Glob(top + prefix + "*")
		for _, m := range matches {
			_ = filepath.WalkDir(m, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil // what vanishes meanwhile is not left
			})
		}
	}
	slices.Reverse(dirs)
	return dirs
}

// hierarchies are the mount points of all cgroup file systems.
func hierarchies() []string {
	var tops []string
	for _, m := range mounts() {
		if strings.HasPrefix(m.kind, "cgroup") {
			tops = append(tops, m.path)
		}
	}
	return tops
}

type mount struct{ path, kind string }

// mounts are those of this process's mount namespace, oldest first.
func mounts() []mount {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []mount
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, _ := strings.Cut(s.Text(), " - ")
		words, kind := strings.Fields(before), strings.Fields(after)
		if len(words) > 4 && len(kind) > 0 {
			list = append(list, mount{words[4], kind[0]})
		}
	}
	return list
}

// mountsBelow are the mount points at or below dir, the newest first.
func mountsBelow(dir string) []string {
	var list []string
	for _, m := range mounts() {
		if m.path == dir || strings.HasPrefix(m.path, dir+"/") {
			list = append(list, m.path)
		}
	}
	slices.Reverse(list)
	return list
}

// processesIn are the processes in cgroups whose path begins with prefix. One that has
// ended, and that nobody has reaped yet, is none: cgroups v1 don't tell of it either.
func processesIn(prefix string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if strings.Contains(string(b), ":"+prefix) && !hasEnded(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hasEnded says whether a process is gone, or waits for somebody to reap it.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, fields, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	return err != nil || strings.HasPrefix(fields, "Z") || strings.HasPrefix(fields, "X")
}

// killCgroups ends everything in cgroups that begin with prefix. Processes may
// be starting others, or take their time to end, so it goes on until none is found.
func killCgroups(prefix string) {
	poll(func() bool {
		pids := processesIn(prefix)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
		if len(pids) > 0 { // v1's freezer holds up a SIGKILL
			for _, dir := range cgroupDirs(prefix) {
				_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
			}
		}
		return len(pids) == 0
	})
}

// removeCgroups removes cgroups in which nothing runs.
func removeCgroups(prefix string) {
	for _, dir := range cgroupDirs(prefix) {
		for range 100 {
			// The kernel may not be done with the last process.
			if err := os.Remove(dir); !errors.Is(err, syscall.EBUSY) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// describe names a process for a message.
func describe(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	s, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return fmt.Sprintf("%d %q %.60s", pid, strings.ReplaceAll(string(b), "\x00", " "), s)
}

// namedAfter lists files and directories in the folders of dir that carry the
// name of a sandbox: as theirs, or before a dot.
func namedAfter(dir, name string) []string {
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Dir(path) != dir && (d.Name() == name || strings.HasPrefix(d.Name(), name+".")) {
			found = append(found, path)
		}
		return nil
	})
	return found
}
