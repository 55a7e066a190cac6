package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"sandboxer/internal/memfd"
	"sandboxer/internal/tinyelf"
)

// Start starts a command in the cgroup, by start, which is (*exec.Cmd).Start or
// wraps it, and changes cmd for that. The program begins in there: nothing that
// it uses is counted elsewhere. ErrNotFound where a hierarchy lacks the cgroup.
//
// On v1 cmd.Path can't be a script, and what goes wrong in the child is not
// seen by start: the child then writes a text to descriptor 4, the second of
// cmd.ExtraFiles, and ends with the status 1.
func (c *Cgroup) Start(cmd *exec.Cmd, start func(*exec.Cmd) error) error {
	if c.host.mode == V2 {
		return c.clone(cmd, start)
	}
	return c.join(cmd, start)
}

// clone has the kernel clone the child into the cgroup.
func (c *Cgroup) clone(cmd *exec.Cmd, start func(*exec.Cmd) error) error {
	dir, err := c.openFile(c.host.dir("", c.name), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return start(cmd)
}

// join has the child execute the joiner first, which joins all hierarchies and
// executes the program of cmd. A process with one thread may move this one; to
// move any other, or one with several, v1 waits for a grace period of RCU, 7 to
// 17 ms. This process can't lend the child a thread that is in the cgroup
// already: whatever holds up the cgroup, such as a CPU limit that it has used
// up, would hold up that thread, and with it this whole process.
func (c *Cgroup) join(cmd *exec.Cmd, start func(*exec.Cmd) error) error {
	program, err := joiner()
	if err != nil {
		return err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, dir := range c.host.dirs(c.name) {
		f, err := c.openFile(dir+"/tasks", unix.O_WRONLY)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	exe, err := os.OpenFile(cmd.Path, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	files = append(files, exe)
	var numbers []string
	for _, f := range files {
		numbers = append(numbers, strconv.Itoa(3+len(cmd.ExtraFiles)))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Args = append([]string{strings.Join(numbers, ",")}, cmd.Args...)
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", program.Fd())
	return start(cmd)
}

func (c *Cgroup) openFile(path string, flags int) (*os.File, error) {
	fd, err := open(path, flags)
	if gone(err) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("entering cgroup %s: %w", c.name, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// joiner is a program that joins cgroups and then executes another program. Its
// first argument lists descriptors in decimal, with commas between them: of the
// tasks files to write "0" to, and last of the program; the other arguments are
// that one's. It is made once and stays open for the life of the process.
var joiner = sync.OnceValues(func() (*os.File, error) {
	return memfd.Program("sandboxer-joiner", strings.NewReader(string(tinyelf.Program(joinerCode+joinerText))))
})

// joinerText is what the joiner writes to descriptor 4 when it fails; joinerCode
// knows its length.
const joinerText = "entering the sandbox's cgroup, or executing the program in it, failed"
