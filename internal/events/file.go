package events

import (
	"encoding/json"
	"fmt"
	"os"

	"sandboxer/internal/sealed"
)

// write puts one line into the file, whole or not at all, after making room.
func (l *Log) write(e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	b = append(sealed.Seal(b), '\n')
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size+int64(len(b)) > l.cfg.MaxFile {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if _, err := l.file.Write(b); err != nil {
		if l.file.Truncate(l.size) != nil {
			_ = l.shut() // open ends the torn line
		}
		return err
	}
	l.size += int64(len(b))
	return nil
}

func (l *Log) rotate() error {
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		return fmt.Errorf("rotating: %w", err)
	}
	_ = l.shut() // nothing is buffered
	return l.open()
}

// open opens the file for appending and ends a line that a crash left torn.
func (l *Log) open() error {
	if err := os.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	size, err := endLine(f)
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, size
	return nil
}

// endLine returns the file's size after giving its last line an end.
func endLine(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil || last[0] == '\n' {
		return st.Size(), err
	}
	_, err = f.Write([]byte{'\n'})
	return st.Size() + 1, err
}

func (l *Log) shut() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file, l.size = nil, 0
	return err
}
