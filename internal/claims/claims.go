// Package claims has the daemons of a host know what is each other's: a container
// of one must reach another's directories as little as its own daemon's. Each
// writes down its own before it starts anything, also those of "sandboxer run".
// What one has left is a claim as long as its state directory is there: its
// sandboxes may run.
//
// Its functions may be called from many goroutines and processes.
package claims

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"sandboxer/internal/shelf"
)

// Dir is where claims are, one file for each daemon. Only root may enter it.
const Dir = "/run/sandboxer-claims"

// claim is such a file.
type claim struct {
	StateDir string        `json:"stateDir"`
	Things   []shelf.Thing `json:"things"`
}

// Write writes down what is the own of the daemon with that state directory,
// which must exist.
func Write(stateDir string, things []shelf.Thing) error {
	if err := os.MkdirAll(Dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(claim{stateDir, things})
	if err != nil {
		return err
	}
	return renameio.WriteFile(file(stateDir), b, 0o600)
}

func file(stateDir string) string {
	sum := sha256.Sum256([]byte(stateDir))
	return filepath.Join(Dir, hex.EncodeToString(sum[:16])+".json")
}

// Others are the things of all other daemons of the host. Claims of those that
// are gone for good are removed. answers says why a path can't be looked at
// without waiting for ever.
func Others(stateDir string, answers func(path string) error) ([]shelf.Thing, error) {
	entries, err := os.ReadDir(Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	own := filepath.Base(file(stateDir))
	var things []shelf.Thing
	for _, e := range entries {
		if e.Name() == own || strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".json" {
			continue
		}
		path := filepath.Join(Dir, e.Name())
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var c claim
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		if err == nil && c.StateDir == "" {
			err = errors.New("it names no state directory")
		}
		if err != nil {
			return nil, fmt.Errorf("reading what is another daemon's: %s: %w; remove it if that daemon is gone", path, err)
		}
		err = answers(c.StateDir)
		if err == nil {
			_, err = os.Lstat(c.StateDir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		for _, t := range c.Things {
			t.What += " of another daemon,"
			things = append(things, t)
		}
	}
	return things, nil
}
