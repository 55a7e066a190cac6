package mountinfo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	got, err := parse("36 35 98:0 /mnt1 /mnt2\\040x ro,noatime master:1 - ext3 /dev/root rw,errors=continue\n37 36 0:5 / / rw - fuse.sshfs a b\n" +
		"38 36 0:6 / /a\u00a0b\r rw - overlay  rw,lowerdir=/a\\054b\n")
	want := []Mount{
		{ID: 36, Parent: 35, Device: "98:0", Root: "/mnt1", Point: "/mnt2 x", ReadOnly: true, Kind: "ext3", Source: "/dev/root", Options: "rw,errors=continue"},
		{ID: 37, Parent: 36, Device: "0:5", Root: "/", Point: "/", Kind: "fuse.sshfs", Source: "a", Options: "b"},
		{ID: 38, Parent: 36, Device: "0:6", Root: "/", Point: "/a\u00a0b\r", Kind: "overlay", Options: `rw,lowerdir=/a\054b`},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, line := range []string{"36 35 98:0 / / rw", "x 35 98:0 / / rw - ext3 a b", "36 x 98:0 / / rw - ext3 a b"} {
		if _, err := parse(line); err == nil {
			t.Errorf("%q was read", line)
		}
	}
}

func TestUnescape(t *testing.T) {
	for path, want := range map[string]string{"/a": "/a", `/a\040b`: "/a b", `/a\134040`: `/a\040`, `/\`: `/\`, `/\012`: "/\n"} {
		if got := unescape(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// Lines are the kernel's own; those that concern a directory are what it is on and
// what is in it.
func TestLines(t *testing.T) {
	read := func() string {
		b, err := os.ReadFile(own)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for before, after := "", read(); before != after; { // others mount meanwhile
		before = after
		all, err := Lines(func(Mount) bool { return true })
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		got := strings.Join(all, "\n") + "\n"
		if after = read(); after == before && got != before {
			t.Errorf("got\n%s\nwant\n%s", got, before)
		}
	}
	concerns := Concerns("/run/sandboxer", "/data/")
	for m, want := range map[Mount]bool{
		{Point: "/"}: true, {Point: "/run"}: true, {Point: "/run/sandboxer"}: true, {Point: "/run/sandboxer/x"}: true, {Point: "/data/v"}: true,
		{Point: "/run/sandboxer-2"}: false, {Point: "/home"}: false, {Point: "/sys/fs/cgroup", Kind: "cgroup2"}: true, {Point: "/database"}: false,
	} {
		if got := concerns(m); got != want {
			t.Errorf("%+v: %v", m, got)
		}
	}
}

// Who has ended, and is not reaped yet, has no table.
func TestReadAtOfWhoHasEnded(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	_, err := ReadAt(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/mountinfo", cmd.Process.Pid))
	if !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}
