package hook

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tail keeps the last OutputMax bytes that are written to it.
type tail struct {
	last []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if over := len(t.last) - OutputMax; over > 0 {
		t.cut = true
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(p), nil
}

// rest adds what is in a pipe now, and waits for nothing.
func (t *tail) rest(r *os.File) {
	_ = r.SetReadDeadline(time.Time{}) // it was set before
	conn, err := r.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool { // it is never tried again
		buf := make([]byte, 64<<10)
		for range 64 { // who writes without end has more than one pipe's worth
			n, err := unix.Read(int(fd), buf)
			if n <= 0 || err != nil {
				break
			}
			_, _ = t.Write(buf[:n]) // never fails
		}
		return true
	})
}

// String is what was kept, and whether it is all.
func (t *tail) String() string {
	if t.cut {
		return "… " + string(t.last)
	}
	return string(t.last)
}
