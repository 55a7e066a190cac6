package shelf

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
)

// What is open of a mount that was taken out is held, and not what is of another one that
// has its ID by now; an overlay's files may have another device than that.
func TestMountIDUsedAgain(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	own := strconv.Itoa(int(st.Dev_major)) + ":" + strconv.Itoa(int(st.Dev_minor))
	for _, c := range []struct {
		device, kind string
		held         bool
	}{
		{own, "ext4", true},
		{"4711:1", "ext4", false},
		{"0:4711", "tmpfs", false},
		{"0:4711", "overlay", true},
		{"0:4711", "btrfs", true},
	} {
		v := view{Look: &Look{}, mounts: map[uint64]mountinfo.Mount{st.Mnt_id: {ID: int(st.Mnt_id), Device: c.device, Kind: c.kind, Point: "/c.1/0"}}}
		h, err := v.judge(open, strconv.Itoa(int(f.Fd())))
		if err != nil || (h != nil) != c.held {
			t.Errorf("a mount of %s that is %s: %+v, %v", c.kind, c.device, h, err)
		}
	}
}
