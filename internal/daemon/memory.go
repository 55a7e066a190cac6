package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"sandboxer/observed"
	"sandboxer/reconcile"
)

// memories stores what the loop remembers, a JSON file for each sandbox, so
// that back-off and outcomes outlive the daemon and a power cut. It implements
// reconcile.Store.
type memories struct {
	dir string
}

func (m memories) path(name string) string { return filepath.Join(m.dir, name+".json") }

// Load gives the zero Memory also where a file can't be understood any more:
// the counters start anew then.
func (m memories) Load(name string) (reconcile.Memory, error) {
	b, err := os.ReadFile(m.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return reconcile.Memory{}, nil
	}
	if err != nil {
		return reconcile.Memory{}, err
	}
	var mem reconcile.Memory
	if json.Unmarshal(b, &mem) != nil {
		return reconcile.Memory{}, nil
	}
	return mem, nil
}

// Save writes atomically and durably.
func (m memories) Save(name string, mem reconcile.Memory) error {
	if err := observed.CheckName(name); err != nil {
		return err
	}
	b, err := json.Marshal(mem)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(m.path(name), b, 0o600, renameio.WithTempDir(m.dir)); err != nil {
		return fmt.Errorf("storing what is remembered of sandbox %q: %w", name, err)
	}
	return nil
}

func (m memories) Delete(name string) error {
	if err := os.Remove(m.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (m memories) Names() ([]string, error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && observed.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}
