package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sandboxer/internal/sealed"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// memories stores what the loop remembers, a JSON file for each sandbox, so
// that back-off and outcomes outlive the daemon and a power cut. It implements
// reconcile.Store.
type memories struct {
	dir string
	// damaged is told of each file that was damaged.
	damaged func(name, damage string)
}

// memoryMax is more than any memory has, in bytes.
const memoryMax = 16 << 20

// remembered is what a file holds.
type remembered struct {
	Version int    `json:"version,omitempty"` // 0: of a version that wrote none
	Name    string `json:"name,omitempty"`    // of the sandbox; empty likewise
	plan.Memory
}

const memoryVersion = 1

func (m memories) path(name string) string { return filepath.Join(m.dir, name+".json") }

// Load gives a Memory that holds nothing but the damage where neither a file
// nor its copy can be understood any more: the counters start anew then.
func (m memories) Load(name string) (plan.Memory, error) {
	if err := observed.CheckName(name); err != nil {
		return plan.Memory{}, err
	}
	var mem plan.Memory
	decode := func(data []byte) error {
		var r remembered
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("it can't be decoded: %w", err)
		}
		if r.Name != "" && r.Name != name {
			return fmt.Errorf("it is of sandbox %q", r.Name)
		}
		mem = r.Memory
		return nil
	}
	file := m.path(name)
	stoodIn, err := sealed.Read(file, memoryMax, decode)
	damage, damaged := errors.AsType[*sealed.Damage](err)
	switch {
	case damaged:
		mem = plan.Memory{Damage: fmt.Sprintf("what was remembered (%s) was damaged (%s), and counters and back-off start anew; it is kept as %[1]s.damaged", file, damage.Why)}
		m.damaged(name, mem.Damage)
		_ = sealed.SetAside(file) // on a full disk it stays in its place until it is written anew
		return mem, nil
	case errors.Is(err, fs.ErrNotExist):
		return plan.Memory{}, nil
	case err != nil:
		return plan.Memory{}, err
	}
	if stoodIn != nil {
		_ = sealed.Mend(file, memoryMax, decode) // likewise
		mem.Damage = fmt.Sprintf("what was remembered (%s) was damaged (%s); its copy is used, and what was damaged is kept as %[1]s.damaged", file, stoodIn.Why)
		m.damaged(name, mem.Damage)
		return mem, nil
	}
	_ = sealed.Tend(file, memoryMax, decode) // likewise
	return mem, nil
}

// Save writes atomically.
func (m memories) Save(name string, mem plan.Memory, durably bool) error {
	if err := observed.CheckName(name); err != nil {
		return err
	}
	write := sealed.Put
	if durably {
		write = sealed.Write
	}
	if err := write(m.path(name), remembered{memoryVersion, name, mem}); err != nil {
		return fmt.Errorf("storing what is remembered of sandbox %q: %w", name, err)
	}
	return nil
}

func (m memories) Delete(name string) error { return sealed.Remove(m.path(name)) }

func (m memories) Names() ([]string, error) {
	entries, err := os.ReadDir(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // somebody has removed it
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		file, ok := sealed.Of(e.Name())
		if name, isMemory := strings.CutSuffix(file, ".json"); ok && isMemory && observed.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil // a file and its copy are one
}
