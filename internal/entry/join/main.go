// Command join writes a program with a client behind it, in one file:
//
//	join PROGRAM CLIENT FILE
//
// See internal/entry.
package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"sandboxer/internal/entry"
)

// page is what offsets are multiples of: the largest page there is.
const page = 64 << 10

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: join PROGRAM CLIENT FILE")
		os.Exit(2)
	}
	if err := join(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "join:", err)
		os.Exit(1)
	}
}

func join(program, client, file string) error {
	whole, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(client)
	if err != nil {
		return err
	}
	whole = append(whole, make([]byte, (page-len(whole)%page)%page)...)
	t, err := trailer(content, uint64(len(whole)))
	if err != nil {
		return fmt.Errorf("%s: %w", client, err)
	}
	b := bytes.NewBuffer(append(whole, content...))
	if err := binary.Write(b, binary.NativeEndian, t); err != nil {
		return err
	}
	// One that runs can't be written to, but replaced.
	if err := os.WriteFile(file+".new", b.Bytes(), 0o755); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// trailer says how a client that lies at that offset is mapped.
func trailer(client []byte, offset uint64) (entry.Trailer, error) {
	f, err := elf.NewFile(bytes.NewReader(client))
	if err != nil {
		return entry.Trailer{}, err
	}
	t := entry.Trailer{Entry: f.Entry, Magic: entry.Magic}
	n := 0
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if n == len(t.Segments) || p.Align == 0 || p.Vaddr%p.Align != 0 || p.Off%p.Align != 0 {
			return t, errors.New("its segments are not as those of a Go program")
		}
		s := entry.Segment{Address: p.Vaddr, Offset: offset + p.Off, File: p.Filesz, Memory: p.Memsz}
		for from, to := range map[elf.ProgFlag]uint64{elf.PF_R: 1, elf.PF_W: 2, elf.PF_X: 4} {
			if p.Flags&from != 0 {
				s.Protection |= to
			}
		}
		t.Segments[n] = s
		n++
	}
	return t, nil
}
