// Package infra makes the root file system of the infra container: the first
// container of every gVisor sandbox, which users never see. It does nothing
// but sleep, so that the sandbox, and with it the exit codes of all other
// containers, outlives each of them.
//
// The root is an EROFS image that the sentry maps by itself, which spares the
// infra container a gofer. The image holds one program of a few instructions
// and the empty directories that the sentry mounts upon. It has no state and
// may be used from many goroutines.
package infra

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"sandboxer/internal/memfd"
	"sandboxer/internal/tinyelf"
)

// Command is the infra container's program inside Image. Without arguments it
// waits for ever; with any it ends at once with exit code 0, which tells a
// sandbox that runs from one that is paused.
const Command = "/pause"

// Checkpoints names all that a checkpoint can be read by, beside that version of
// gVisor, which keeps no format over its versions: Image is not in a checkpoint.
func Checkpoints(gvisor string) string {
	return fmt.Sprintf("gVisor %s (%s, infra %08x)", gvisor, runtime.GOARCH, crc32.ChecksumIEEE(Image()))
}

const (
	blockSize   = 4096
	superOffset = 1024 // of the superblock, fixed by the format
	superSize   = 128
	slot        = 32 // bytes per inode slot; an inode's number is its slot
	magic       = 0xE0F5E1E2

	typeRegular   = 1
	typeDirectory = 2
)

// Image returns the EROFS image (format: the kernel's fs/erofs/erofs_fs.h,
// compact inodes, plain data, no optional feature).
func Image() []byte {
	program := tinyelf.Program(pauseCode)
	dirs := []string{"dev", "proc", "sys", "tmp"}

	// Slots: the root's inode follows the superblock, then the program's and
	// the directories'. Blocks: 0 holds all of these, 1 the root's entries, 2
	// the program, then one per directory.
	root := uint64((superOffset + superSize) / slot)
	names := map[string]uint64{"pause": root + 1}
	for i, d := range dirs {
		names[d] = root + 2 + uint64(i)
	}

	img := make([]byte, blockSize*(3+len(dirs)))
	le := binary.LittleEndian
	sb := img[superOffset:]
	le.PutUint32(sb[0:], magic)
	sb[12] = 12 // log2 of the block size
	le.PutUint16(sb[14:], uint16(root))
	le.PutUint64(sb[16:], uint64(2+len(dirs)))
	le.PutUint32(sb[36:], uint32(len(img)/blockSize))

	inode := func(nid uint64, mode uint16, links int, size int, block int) {
		b := img[nid*slot:]
		le.PutUint16(b[4:], mode)
		le.PutUint16(b[6:], uint16(links))
		le.PutUint32(b[8:], uint32(size))
		le.PutUint32(b[16:], uint32(block))
		le.PutUint32(b[20:], uint32(nid))
	}
	entries := directory([]entry{
		{".", root, typeDirectory}, {"..", root, typeDirectory},
		{"dev", names["dev"], typeDirectory}, {"pause", names["pause"], typeRegular},
		{"proc", names["proc"], typeDirectory}, {"sys", names["sys"], typeDirectory},
		{"tmp", names["tmp"], typeDirectory},
	})
	inode(root, unix.S_IFDIR|0o555, 2+len(dirs), len(entries), 1)
	copy(img[blockSize:], entries)
	inode(names["pause"], unix.S_IFREG|0o555, 1, len(program), 2)
	copy(img[2*blockSize:], program)
	for i, d := range dirs {
		entries := directory([]entry{{".", names[d], typeDirectory}, {"..", root, typeDirectory}})
		inode(names[d], unix.S_IFDIR|0o555, 2, len(entries), 3+i)
		copy(img[(3+i)*blockSize:], entries)
	}
	return img
}

// File returns Image as a sealed file in memory, to be given to a sentry. The
// caller closes it.
func File() (*os.File, error) { return memfd.Data("infra.erofs", Image()) }

type entry struct {
	name string
	nid  uint64
	kind byte
}

// directory lays out entries, which must be sorted by name, in one block.
func directory(entries []entry) []byte {
	const size = 12
	var heads, names bytes.Buffer
	for _, e := range entries {
		var b [size]byte
		binary.LittleEndian.PutUint64(b[0:], e.nid)
		binary.LittleEndian.PutUint16(b[8:], uint16(len(entries)*size+names.Len()))
		b[10] = e.kind
		heads.Write(b[:])
		names.WriteString(e.name)
	}
	return append(heads.Bytes(), names.Bytes()...)
}
