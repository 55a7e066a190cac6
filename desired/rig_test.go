package desired

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// rig is a Directory that runs on a folder of its own.
type rig struct {
	t       *testing.T
	root    string // for whatever the test needs; the manifests are in root/m
	cfg     Config
	d       *Directory
	changed chan []string
	stop    func()
}

// newRig prepares root/m; start begins to watch it.
func newRig(t *testing.T, noEvents bool) *rig {
	root := t.TempDir()
	r := &rig{t: t, root: root, cfg: Config{
		Dirs: []string{filepath.Join(root, "m")}, Store: filepath.Join(root, "store"),
		Resync: time.Hour, Settle: 30 * time.Millisecond, DeletionGuard: 0.5, NoEvents: noEvents,
	}}
	if noEvents {
		r.cfg.Resync = 5 * time.Millisecond
	}
	r.mkdir("m")
	return r
}

// both runs a scenario with file events, and with the resync alone.
func both(t *testing.T, scenario func(t *testing.T, r *rig)) {
	for name, noEvents := range map[string]bool{"events": false, "resync": true} {
		t.Run(name, func(t *testing.T) { scenario(t, newRig(t, noEvents)) })
	}
}

func (r *rig) start() *rig {
	r.t.Helper()
	d, err := New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r.d, r.changed = d, make(chan []string, 10000)
	go func() { done <- d.Run(ctx, func(names []string) { r.changed <- names }) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
		r.stop = func() {}
	}
	r.t.Cleanup(func() { r.stop() })
	return r
}

// await waits until the set is as told: words are name@version, name(held),
// name(pending), !file for a problem, blocked.
func (r *rig) await(want ...string) *Set {
	r.t.Helper()
	slices.Sort(want)
	limit := time.After(10 * time.Second)
	for {
		s := r.d.Set()
		if s != nil && slices.Equal(words(s), want) {
			return s
		}
		select {
		case <-r.changed:
		case <-limit:
			r.t.Fatalf("after 10 s there is %q, want %q\nproblems: %v", words(s), want, s.Problems)
		}
	}
}

func words(s *Set) []string {
	seen := map[string]bool{}
	for name, sb := range s.Sandboxes {
		seen[fmt.Sprintf("%s@%d", name, *sb.Spec.TerminationGracePeriodSeconds)] = true
	}
	for name := range s.Held {
		seen[name+"(held)"] = true
	}
	for name := range s.Pending {
		seen[name+"(pending)"] = true
	}
	for _, p := range s.Problems {
		seen["!"+p.File] = true
	}
	if s.Blocked != "" {
		seen["blocked"] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func (r *rig) path(p string) string { return filepath.Join(r.root, p) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mkdir(p string) {
	r.t.Helper()
	r.must(os.MkdirAll(r.path(p), 0o755))
	r.must(os.Chmod(r.path(p), 0o755)) // whatever the umask
}

// put renames a file into place, as careful writers do.
func (r *rig) put(p, content string) {
	r.t.Helper()
	tmp := filepath.Join(filepath.Dir(r.path(p)), ".tmp-"+filepath.Base(p))
	r.write(tmp, content)
	r.must(os.Rename(tmp, r.path(p)))
}

func (r *rig) write(full, content string) {
	r.t.Helper()
	r.must(os.WriteFile(full, []byte(content), 0o644))
	r.must(os.Chmod(full, 0o644))
}

func (r *rig) remove(p string) {
	r.t.Helper()
	r.must(os.RemoveAll(r.path(p)))
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	r.must(os.Rename(r.path(from), r.path(to)))
}

func (r *rig) link(target, p string) {
	r.t.Helper()
	r.must(os.Symlink(target, r.path(p)))
}

// relink swaps a symbolic link in one step, as git-sync and the kubelet do.
func (r *rig) relink(target, p string) {
	r.t.Helper()
	r.link(target, p+".new")
	r.rename(p+".new", p)
}

func wantMessage(t *testing.T, ps []Problem, file, part string) {
	t.Helper()
	for _, p := range ps {
		if p.File == file && strings.Contains(p.Message, part) {
			return
		}
	}
	t.Errorf("no problem of %s says %q: %v", file, part, ps)
}
