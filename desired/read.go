package desired

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// file looks at one manifest, and reads it unless it is known.
func (p *pass) file(f *folder, path, shown, real, unsafe string) {
	if err := p.answers(real, true); err != nil {
		p.unreadable(path, shown, err)
		return
	}
	info, err := os.Lstat(real)
	if errors.Is(err, fs.ErrNotExist) && real == filepath.Join(f.real, filepath.Base(path)) {
		return // gone since the folder was listed: simply not there
	}
	if err != nil {
		p.unreadable(path, shown, err)
		return
	}
	at, _ := stampOf(info)
	docs, known := p.recall(path, at)
	var fd *os.File
	if !known && info.Mode().IsRegular() {
		// Neither a link nor a pipe put here meanwhile may lead or hold us.
		if fd, err = os.OpenFile(real, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0); err == nil {
			defer fd.Close()
			info, err = fd.Stat()
		}
		if err != nil {
			p.unreadable(path, shown, err)
			return
		}
		at, _ = stampOf(info)
	}
	out := file{path: path, shown: shown, stamp: at, docs: docs}
	refuse := p.unsafe(info)
	if refuse != "" {
		refuse = "the file " + refuse
	}
	if refuse = firstOf(refuse, firstOf(f.unsafe, unsafe)); refuse != "" {
		refuse = refusal(refuse)
	} else if info.Mode().IsRegular() {
		refuse = p.reachable(real, info)
	}
	if info.Mode().IsRegular() && refuse == "" { // what is refused stands for no other
		if first, seen := p.files[at.id()]; seen {
			p.skip(shown, "the same file as %s", first)
			return
		}
		p.files[at.id()] = shown
	}
	switch {
	case !info.Mode().IsRegular():
		out.broken = true
		p.problem(shown, "not a regular file")
	case refuse != "":
		out.docs, out.broken = nil, true
		p.problem(shown, "%s", refuse)
	case !known:
		if out.docs, err = p.read(fd, path, shown, at); err != nil {
			p.unreadable(path, shown, err)
			return
		}
		// What was written before it was read is judged with it.
		if info, err = fd.Stat(); err != nil {
			p.unreadable(path, shown, err)
			return
		}
		if now, _ := stampOf(info); now != at {
			if refuse := p.reachable(real, info); refuse != "" {
				out.docs, out.broken = nil, true
				p.problem(shown, "%s", refuse)
			}
		}
	}
	p.out.files = append(p.out.files, out)
}

func (p *pass) unreadable(path, shown string, err error) {
	p.out.faulty = append(p.out.faulty, path)
	p.block(shown, "", err)
}

// recall returns what a file held if nothing can have changed since.
func (p *pass) recall(path string, at stamp) ([]Document, bool) {
	got, ok := p.scanner.cache[path]
	if !ok || got.stamp != at || got.at.Sub(time.Unix(0, at.ctime)) < racy {
		return nil, false
	}
	p.cache[path] = got
	return got.docs, true
}

// read decodes a file. at was taken when it was opened, so that a change while
// it is being read leads to another reading.
func (p *pass) read(fd io.Reader, path, shown string, at stamp) ([]Document, error) {
	now := p.now()
	data, err := io.ReadAll(io.LimitReader(fd, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	got, ok := p.scanner.cache[path]
	if sum := sha256.Sum256(data); !ok || got.sum != sum {
		got = reading{sum: sum, docs: Decode(shown, data)}
	}
	got.stamp, got.at = at, now
	p.cache[path] = got
	return got.docs, nil
}
