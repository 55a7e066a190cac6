package cgroup

import (
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// Victim is the pid of the process that the kernel killed last for memory in
// the cgroup with that path, from the kernel's log; ok is false where that
// does not say, or may not be read. The process has ended: the pid is for
// telling which it was, and may be another's by now.
func (h *Host) Victim(name string) (pid int, ok bool) {
	fd, err := open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var record [8 << 10]byte // what the kernel holds a record to
	for {
		n, err := unix.Read(fd, record[:])
		switch {
		case err == nil:
			if p, is := victim(record[:n], name); is {
				pid, ok = p, true
			}
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR):
			// What was to be read next has been overwritten.
		default:
			return pid, ok // EAGAIN: that was all
		}
	}
}

// victim reads one record of the kernel's log, which for a kill is
//
//	…;oom-kill:constraint=…,oom_memcg=/a,task_memcg=/a,task=NAME,pid=12,uid=0
//
// followed by lines of its own. The process's name may hold anything but ends
// before the last two fields.
func victim(record []byte, cgroup string) (pid int, ok bool) {
	line, _, _ := bytes.Cut(record, []byte("\n"))
	_, kill, isKill := bytes.Cut(line, []byte(";oom-kill:"))
	_, of, isOurs := bytes.Cut(kill, []byte(",task_memcg="+cgroup+",task="))
	at := bytes.LastIndex(of, []byte(",pid="))
	if !isKill || !isOurs || at < 0 {
		return 0, false
	}
	digits, _, _ := bytes.Cut(of[at+len(",pid="):], []byte(","))
	pid, err := strconv.Atoi(string(digits))
	return pid, err == nil
}
