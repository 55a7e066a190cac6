package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// churnFiles is how many files are kept in the directory.
const churnFiles = 16

// churn works on files until it is ended, and checks every byte that it reads:
// on FILE with requests to the gofer (it is opened with truncation each time),
// below DIR mostly without. The first fault ends it.
func churn(args []string) error {
	c := churner{file: args[0], dir: args[1], seeds: map[string]uint64{}, link: filepath.Join(args[1], "link")}
	if err := os.Symlink("nowhere", c.link); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	c.linkSays = c.attribute()
	for i := 1; ; i++ {
		for _, step := range []func(int) error{c.truncate, c.replace, c.move, c.ask} {
			if err := step(i); err != nil {
				return fmt.Errorf("FAULT in round %d: %w", i, err)
			}
		}
		if i%100 == 0 {
			say("churned", strconv.Itoa(i))
		}
	}
}

type churner struct {
	file, dir, link string
	linkSays        error
	seeds           map[string]uint64 // of the files' contents
}

// truncate makes the round's number the content of the file.
func (c *churner) truncate(i int) error {
	want := []byte(strconv.Itoa(i))
	if err := os.WriteFile(c.file, want, 0o644); err != nil {
		return err
	}
	return same(c.file, want)
}

// replace writes one of the directory's files anew and reads another.
func (c *churner) replace(i int) error {
	path := filepath.Join(c.dir, strconv.Itoa(i%churnFiles))
	seed := rand.Uint64()
	if err := os.WriteFile(path, pattern(seed), 0o644); err != nil {
		return err
	}
	c.seeds[path] = seed
	other := filepath.Join(c.dir, strconv.Itoa(rand.IntN(churnFiles)))
	if seed, ok := c.seeds[other]; ok {
		return same(other, pattern(seed))
	}
	return nil
}

// move makes a directory with a file in it, renames and removes it.
func (c *churner) move(i int) error {
	from, to := filepath.Join(c.dir, "from"), filepath.Join(c.dir, "to")
	if err := os.Mkdir(from, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(from, "in"), []byte("x"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := same(filepath.Join(to, "in"), []byte("x")); err != nil {
		return err
	}
	return os.RemoveAll(to)
}

// ask asks for an attribute of a link, which goes to the gofer.
func (c *churner) ask(int) error {
	if err := c.attribute(); !errors.Is(err, c.linkSays) {
		return fmt.Errorf("the link's attribute: %w, before %w", err, c.linkSays)
	}
	return nil
}

func (c *churner) attribute() error {
	_, err := unix.Lgetxattr(c.link, "user.none", make([]byte, 16))
	return err
}

// pattern is up to 64 KiB that follow from a seed.
func pattern(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, r.IntN(64<<10))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func same(path string, want []byte) error {
	got, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s has %d bytes that are not the %d written", path, len(got), len(want))
	}
	return err
}
