package hostpath

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Op is one thing that is done with what was opened and that a file system may
// never answer: another process can do it that has the same open.
type Op struct {
	Kind    string `json:"kind"`           // one of those below
	Name    []byte `json:"name,omitempty"` // of what is in the folder; it need not be a text
	Mode    uint32 `json:"mode,omitempty"`
	Content []byte `json:"content,omitempty"`
	Most    int    `json:"most,omitempty"`
}

const (
	opMkdir, opCreate         = "mkdir", "create" // Name, with Mode
	opWrite, opRemove, opRead = "write", "remove", "read"
)

// Do does it directly. real is a name for messages; what is read is returned.
func (o Op) Do(f *os.File, real string) ([]byte, error) {
	file, name := File{File: f, Real: real}, string(o.Name)
	switch o.Kind {
	case opMkdir:
		return nil, unix.Mkdirat(int(f.Fd()), name, o.Mode)
	case opCreate:
		// Only what is made here is opened: a pipe would wait, and a device do who
		// knows what.
		fd, err := unix.Openat(int(f.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, o.Mode)
		if err == nil {
			unix.Close(fd)
		}
		return nil, err
	case opWrite:
		return nil, file.write(name, o.Content, o.Mode)
	case opRemove:
		return nil, file.remove(name, o.Content)
	case opRead:
		return file.read(o.Most)
	}
	return nil, fmt.Errorf("nobody knows how to %q", o.Kind)
}

// act has somebody do an Op with what is open.
func (f File) act(op Op) ([]byte, error) {
	if f.do == nil {
		return op.Do(f.File, f.Real)
	}
	return f.do(f.File, f.Real, op)
}

// Write puts a file with that content into a folder, in the place of whatever has
// the name.
func (f File) Write(name string, content []byte, mode uint32) error {
	_, err := f.act(Op{Kind: opWrite, Name: []byte(name), Content: content, Mode: mode})
	return err
}

// Remove removes a regular file from a folder if that is its content; another
// one is somebody else's.
func (f File) Remove(name string, content []byte) error {
	_, err := f.act(Op{Kind: opRemove, Name: []byte(name), Content: content})
	return err
}

// Read reads a regular file of at most so many bytes. It neither waits for what
// may come nor reads what has no end.
func (f File) Read(most int) ([]byte, error) {
	return f.act(Op{Kind: opRead, Most: most})
}
