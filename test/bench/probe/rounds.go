package main

import (
	"fmt"
	"os"
	"time"
)

// How many operations a round has: few enough for many rounds to be over
// before anything else wants the processor.
const (
	filesPerRound    = 25 // of each
	requestsPerRound = 10
)

// rounds works on files for ever and writes a line for every round: when it
// began (ns since 1970), and how long one operation that does not ask the
// gofer took (ns), and one request to it.
func rounds(dir, file string) error {
	log, err := os.OpenFile(dir+"/rounds", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	files, err := unasked(dir)
	if err != nil {
		return err
	}
	requests := []operation{asking(file)}
	for {
		began := time.Now()
		perFile, err := each(files, filesPerRound)
		if err != nil {
			return err
		}
		perRequest, err := each(requests, requestsPerRound)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(log, began.UnixNano(), perFile.Nanoseconds(), perRequest.Nanoseconds()); err != nil {
			return err
		}
	}
}

// each does all operations n times and returns how long one took.
func each(operations []operation, n int) (time.Duration, error) {
	began := time.Now()
	for range n {
		for _, do := range operations {
			if err := do(); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(began) / time.Duration(n*len(operations)), nil
}
