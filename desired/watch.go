package desired

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// watcher turns file events into wake-ups. It watches every manifest folder
// for anything, and every folder on the way to one (links included) for the
// one name that leads there, so that a swapped or late parent is seen.
//
// The scanner tells it what it is about to look at, between begin and end; what
// it did not mention in a scan is watched no more. A nil watcher watches
// nothing.
type watcher struct {
	fs   *fsnotify.Watcher
	poke func()

	mu    sync.Mutex
	pass  int                // counts scans
	kept  map[string]bool    // what fsnotify watched at the scan's beginning
	dirs  map[string]watched // by link-free path
	names map[string]int     // paths that lead to manifests, and the last scan that used them
	fault error              // the last failure to watch; looking is left to the resync then
}

type watched struct {
	id     fileID
	pass   int  // the last scan that mentioned it
	folder bool // holds manifests: every event in it counts
}

func newWatcher(poke func()) (*watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching for file events: %w", err)
	}
	return &watcher{fs: w, poke: poke, dirs: map[string]watched{}, names: map[string]int{}}, nil
}

// run hands events on until the watcher is closed.
func (w *watcher) run() {
	for {
		select {
		case e, ok := <-w.fs.Events:
			if !ok {
				return
			}
			if w.matters(e.Name) {
				w.poke()
			}
		case _, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			w.poke() // an overflow: events were lost, so something happened
		}
	}
}

// matters says whether an event at path can change what a scan finds.
func (w *watcher) matters(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, leads := w.names[path]; leads {
		return true
	}
	if _, self := w.dirs[path]; self {
		return true
	}
	return w.dirs[filepath.Dir(path)].folder && !strings.HasPrefix(filepath.Base(path), ".")
}

func (w *watcher) begin() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass++
	w.fault = nil
	// fsnotify drops the watch of a folder that was moved or deleted.
	w.kept = map[string]bool{}
	for _, path := range w.fs.WatchList() {
		w.kept[path] = true
	}
}

// look is told that name is about to be looked up in the folder dir.
func (w *watcher) look(dir, name string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[filepath.Join(dir, name)] = w.pass
	if w.dirs[dir].pass == w.pass {
		return
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return // the look-up fails as well, and says so
	}
	at, _ := stampOf(info)
	w.add(dir, at.id(), w.dirs[dir].folder)
}

// folder is told that a manifest folder is about to be listed.
func (w *watcher) folder(dir string, id fileID) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(dir, id, true)
}

// add watches dir. Its identity tells a path that means another folder now
// from one that is watched already.
func (w *watcher) add(dir string, id fileID, folder bool) {
	old, had := w.dirs[dir]
	if had && old.id != id && w.kept[dir] {
		_ = w.fs.Remove(dir) // may be gone by itself
		delete(w.kept, dir)
	}
	if !w.kept[dir] {
		switch err := w.fs.Add(dir); {
		case err == nil:
			w.kept[dir] = true
		case !errors.Is(err, fs.ErrNotExist):
			w.fault = fmt.Errorf("watching %s: %w", dir, err)
		}
	}
	w.dirs[dir] = watched{id: id, pass: w.pass, folder: folder}
}

// end lets go of what this scan did not come across.
func (w *watcher) end() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, pass := range w.names {
		if pass != w.pass {
			delete(w.names, path)
		}
	}
	for dir, d := range w.dirs {
		if d.pass != w.pass {
			_ = w.fs.Remove(dir) // may be gone by itself
			delete(w.dirs, dir)
		}
	}
}

// failure is why some changes will be seen by the resync only.
func (w *watcher) failure() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}
