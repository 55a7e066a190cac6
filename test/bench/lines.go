package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// lines calls f for the numbers in every line of a file that grows, from its
// start, until f is done. How long that takes is the machine's; that a line does
// not follow on another for as long as any step may take is a fault.
func lines(ctx context.Context, path string, f func([]int64) (done bool, err error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(stepTimeout, func() { cancel(fmt.Errorf("no further line for %s", stepTimeout)) })
	defer patience.Stop()
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReader(file)
	line := ""
	for {
		more, err := r.ReadString('\n')
		line += more
		if err != nil { // the end, so far
			if err := sleep(ctx, 5*time.Millisecond); err != nil {
				return fmt.Errorf("reading %s: %w", path, err)
			}
			continue
		}
		patience.Reset(stepTimeout)
		done, err := numbers(line, f)
		if done || err != nil {
			return err
		}
		line = ""
	}
}

func numbers(line string, f func([]int64) (bool, error)) (done bool, err error) {
	var all []int64
	for field := range strings.FieldsSeq(line) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return false, err
		}
		all = append(all, n)
	}
	return f(all)
}
