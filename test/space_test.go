package test

import (
	"fmt"
	"os"
	"path/filepath"
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
		for _, holder := range holders(s.Status.SandboxPID, info) {
			t.Errorf("%s is deleted, and the sentry has it as %s", path, holder)
		}
	}
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
