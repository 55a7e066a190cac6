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

// file reads one manifest.
func (p *pass) file(f *folder, path, shown, real, unsafe string) {
	fd, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) && real == filepath.Join(f.real, filepath.Base(path)) {
		return // gone since the folder was listed: simply not there
	}
	if err != nil {
		p.unreadable(path, shown, err)
		return
	}
	defer fd.Close()
	info, err := fd.Stat()
	if err != nil {
		p.unreadable(path, shown, err)
		return
	}
	at, _ := stampOf(info)
	out := file{path: path, shown: shown, stamp: at}
	if first, seen := p.files[at.id()]; seen {
		p.skip(shown, "the same file as %s", first)
		return
	}
	p.files[at.id()] = shown
	refuse := p.unsafe(info)
	if refuse != "" {
		refuse = "the file " + refuse
	}
	switch refuse = firstOf(refuse, firstOf(f.unsafe, unsafe)); {
	case !info.Mode().IsRegular():
		out.broken = true
		p.problem(shown, "not a regular file")
	case refuse != "":
		out.broken = true
		p.problem(shown, "%s", refusal(refuse))
	default:
		if out.docs, err = p.read(fd, path, shown, at); err != nil {
			p.unreadable(path, shown, err)
			return
		}
	}
	p.out.files = append(p.out.files, out)
}

func (p *pass) unreadable(path, shown string, err error) {
	p.out.faulty = append(p.out.faulty, path)
	p.block(shown, "", err)
}

// read decodes a file, or recalls what it held if nothing can have changed.
func (p *pass) read(fd io.Reader, path, shown string, at stamp) ([]Document, error) {
	got, ok := p.scanner.cache[path]
	if !ok || got.stamp != at || got.at.Sub(time.Unix(0, at.ctime)) < racy {
		now := p.now()
		data, err := io.ReadAll(io.LimitReader(fd, MaxFileSize+1))
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(data); !ok || got.sum != sum {
			got = reading{sum: sum, docs: Decode(shown, data)}
		}
		got.stamp, got.at = at, now
	}
	p.cache[path] = got
	return got.docs, nil
}
