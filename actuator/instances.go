package actuator

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sandboxer/observed"
)

// instances are those of the action's container that may be there still: the
// one that its record is of or, where that can't be used, those whose output's
// pipes are there. They are made before an instance and removed after it.
func (a *Actuator) instances(w *work) ([]observed.ContainerRecord, error) {
	if c := w.container(); c != nil {
		return []observed.ContainerRecord{*c}, nil
	}
	if w.broken[w.Container] == "" {
		return nil, nil
	}
	prefix := w.Sandbox + "." + w.Container + "."
	pipes, err := os.ReadDir(filepath.Join(a.c.Records.Dir(w.Sandbox), "io"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []observed.ContainerRecord
	for _, pipe := range pipes {
		// Both pipes of an instance have its ID and a suffix.
		id := strings.TrimSuffix(pipe.Name(), filepath.Ext(pipe.Name()))
		number, ours := strings.CutPrefix(id, prefix)
		attempt, err := strconv.Atoi(number)
		if ours && err == nil && !slices.ContainsFunc(found, func(c observed.ContainerRecord) bool { return c.ID == id }) {
			found = append(found, observed.ContainerRecord{Sandbox: w.Sandbox, Name: w.Container, ID: id, Attempt: attempt})
		}
	}
	return found, nil
}
