package desired

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileID tells files apart whatever path leads to them.
type fileID struct{ dev, ino uint64 }

// stampOf reads the identity and times out of what stat returned.
func stampOf(info fs.FileInfo) (stamp, *syscall.Stat_t) {
	st := info.Sys().(*syscall.Stat_t) // always so on Linux, for os.Stat's results
	return stamp{
		dev: st.Dev, ino: st.Ino, size: st.Size,
		mtime: unix.TimespecToNsec(unix.Timespec(st.Mtim)), ctime: unix.TimespecToNsec(unix.Timespec(st.Ctim)),
	}, st
}

func (s stamp) id() fileID { return fileID{s.dev, s.ino} }
