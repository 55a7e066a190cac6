package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
)

// accepted is what of a kept manifest is shown.
type accepted struct {
	Path    string           `json:"path"`
	Held    bool             `json:"held,omitempty"`
	Sandbox *desired.Sandbox `json:"sandbox"`
}

// manifests takes the accepted manifests from the data directory, where the daemon
// does not tell of each.
func (d *dump) manifests() {
	d.try("the accepted manifests (so messages may have values of theirs)", d.storedManifests)
}

// storedManifests takes the accepted manifests from the data directory.
func (d *dump) storedManifests() error {
	return d.each(filepath.Join(d.dataDir, "manifests"), func(name string, content []byte) error {
		var a accepted
		if err := json.Unmarshal(content, &a); err != nil {
			return err
		}
		if a.Sandbox == nil {
			return errors.New("it declares nothing")
		}
		d.redactor.spec(&a.Sandbox.Spec)
		d.add("manifests/"+name, a)
		return nil
	})
}

// recordFields are what of records is shown: nothing of what containers were given.
var recordFields = []string{"version", "bootID", "generation", "name", "runtime", "state", "sandboxHash", "limitsHash", "sentry", "createdAt",
	"gvisor", "restored", "hostNetwork", "sandbox", "id", "attempt", "hash", "gofer", "goferSince", "goferVersion", "goferRestarts", "goferFailures",
	"keeper", "hookPhase", "hooksDone", "terminal", "stdin", "startedAt"}

// storedRecords takes summaries of the records from the state directory.
func (d *dump) storedRecords() error {
	dir := filepath.Join(d.stateDir, "sandboxes")
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no directory %s", dir)
	}
	if err != nil {
		return err
	}
	for _, entry := range names {
		of := map[string]any{}
		take := func(name string, content []byte) error {
			var all map[string]any
			if err := json.Unmarshal(content, &all); err != nil {
				return err
			}
			short := map[string]any{}
			for _, field := range recordFields {
				v, ok := all[field]
				if hash, is := v.(string); is && (field == "hash" || field == "sandboxHash") {
					v = d.redactor.mark(hash)
				}
				if ok {
					short[field] = v
				}
			}
			if exit, ok := all["exit"].(map[string]any); ok {
				delete(exit, "message")
				short["exit"] = exit
			}
			of[name] = short
			return nil
		}
		sandbox := filepath.Join(dir, entry.Name())
		d.try("records of "+entry.Name(), func() error {
			return errors.Join(d.each(sandbox, take), d.each(filepath.Join(sandbox, "containers"), take))
		})
		d.add("records/"+fileName(entry.Name())+".json", of)
	}
	return nil
}

// each calls take for the JSON files of a directory. One that is not as it should be
// hides no other.
func (d *dump) each(dir string, take func(name string, content []byte) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		content, err := readPlain(filepath.Join(dir, e.Name()))
		if err == nil {
			err = take(e.Name(), content)
		}
		d.try(filepath.Join(dir, e.Name()), func() error { return err })
	}
	return nil
}

// readPlain reads a plain file of no great size, and follows no link.
func readPlain(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no plain file", path)
	}
	return io.ReadAll(io.LimitReader(f, dumpMost))
}

// storedEvents takes the kept events from the data directory.
func (d *dump) storedEvents() error {
	list := []events.Event{}
	var errs []error
	for _, name := range []string{"events.jsonl.1", "events.jsonl"} {
		b, err := readPlain(filepath.Join(d.dataDir, name))
		if err != nil && (name == "events.jsonl" || !errors.Is(err, fs.ErrNotExist)) {
			errs = append(errs, err)
		}
		for line := range bytes.Lines(b) {
			var e events.Event
			if json.Unmarshal(line, &e) == nil && !e.Time.IsZero() { // else it is torn
				list = append(list, e)
			}
		}
	}
	if len(list) > 0 {
		d.redactor.events(list)
		d.add("events.json", api.EventList{Items: list})
	}
	return errors.Join(errs...)
}
