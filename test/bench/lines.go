package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// lines calls f for the numbers in every line of a file that grows, from its
// start, until f is done.
func lines(ctx context.Context, path string, f func([]int64) (done bool, err error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stepTimeout, errors.New("too few lines in time"))
	defer cancel()
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
