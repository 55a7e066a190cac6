package logs

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (l *Logs) inputPath(sandbox, id string) string { return filepath.Join(l.ioDir(sandbox), id+".in") }

// OpenInput makes the FIFO from which an instance that was opened reads, and
// returns the container's end, opened for reading and writing: nobody who
// leaves brings it to an end. Finish removes it.
func (l *Logs) OpenInput(sandbox, container, id string) (*os.File, error) {
	if _, err := l.fifos(sandbox, container, id); err != nil {
		return nil, err
	}
	return makeFIFO(l.inputPath(sandbox, id))
}

// Input opens that FIFO for whoever has something to say.
func (l *Logs) Input(sandbox, container, id string) (*os.File, error) {
	if _, err := l.fifos(sandbox, container, id); err != nil {
		return nil, err
	}
	return openWriter(l.inputPath(sandbox, id))
}

// Writer opens stdout's FIFO of an instance that is carried, for what does not
// write there itself.
func (l *Logs) Writer(sandbox, container, id string) (*os.File, error) {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return nil, err
	}
	return openWriter(paths[stdout])
}

// openWriter does not wait for a reader: where there is none it fails.
func openWriter(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a container's pipe: %w", err)
	}
	return f, nil
}
