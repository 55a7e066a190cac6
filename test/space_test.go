package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a container has closed in a volume is not kept open: the space of a file
// that others delete comes back.
func TestClosedFilesAreNotKept(t *testing.T) {
	w := start(t)
	volume := filepath.Join(w.dir, "v")
	if err := os.MkdirAll(filepath.Join(volume, "deep", "er"), 0o755); err != nil {
		t.Fatal(err)
	}
	mounts := "volumeMounts: [{name: host, mountPath: /host}, {name: own, mountPath: /own}]"
	w.declare("web", "volumes: [{name: host, hostPath: {path: DIR/v}}, {name: own, emptyDir: {}}]\ncontainers:\n- "+
		box("app", "write /host/a text then write /host/deep/er/b text then read /host/deep/er/b then write /own/c text then print done then sleep", mounts))
	s := w.running("web")
	w.said("web", "done")
	for _, path := range []string{
		filepath.Join(volume, "a"), filepath.Join(volume, "deep/er/b"), filepath.Join(w.data, "volumes/web/own/c"),
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if !poll(func() bool { return len(deletedHolders(s.Status.SandboxPID, info)) == 0 }) {
			t.Errorf("%s is deleted, and the sentry has it as %v", path, deletedHolders(s.Status.SandboxPID, info))
		}
	}
}

// What was deleted of a root is kept for as long as the container is not restarted,
// as the manual says: its root is its own.
func TestFilesOfRootsAreKeptUntilARestart(t *testing.T) {
	w := start(t)
	root := filepath.Join(w.dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := build(filepath.Join(root, "w"), "../examples/workload"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "old")
	if err := os.WriteFile(path, []byte("content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.declare("web", "containers:\n- {name: app, rootfs: {path: DIR/root}, command: [/w, read, /old, then, print, done, then, sleep]}\n- "+box("aid", "sleep"))
	s := w.running("web")
	w.said("web/app", "done")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if len(holders(s.Status.SandboxPID, info)) == 0 {
		t.Error("it is not kept: the manual says that it is")
	}
	if err := os.WriteFile(path, []byte("other"), 0o644); err != nil { // a new one
		t.Fatal(err)
	}
	w.ok("restart", "web/app")
	now := w.wait("web", "restarted", and(running, func(s sandbox) bool { return s.box("app").ID == "web.app.2" }))
	if now.Status.SandboxPID != s.Status.SandboxPID {
		t.Fatal("the whole sandbox was made anew")
	}
	if !poll(func() bool { return len(deletedHolders(s.Status.SandboxPID, info)) == 0 }) {
		t.Errorf("it is still kept after a restart, as %s", deletedHolders(s.Status.SandboxPID, info))
	}
}

// deletedHolders are those of a file that is deleted: its number may be another
// file's by now.
func deletedHolders(pid int, info os.FileInfo) (found []string) {
	for _, fd := range holders(pid, info) {
		if to, err := os.Readlink(fd); err == nil && strings.HasSuffix(to, "/"+info.Name()+" (deleted)") {
			found = append(found, fd)
		}
	}
	return found
}

// holders are the descriptors by which a process has a file open.
func holders(pid int, info os.FileInfo) (found []string) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	want := info.Sys().(*syscall.Stat_t)
	for _, fd := range fds {
		var is syscall.Stat_t
		if syscall.Stat(fd, &is) == nil && is.Dev == want.Dev && is.Ino == want.Ino {
			found = append(found, fd)
		}
	}
	return found
}
