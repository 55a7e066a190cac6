package claims

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/shelf"
	"sandboxer/observed"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// processes are those of cgroups.
type processes map[string][]int

func (p processes) List(parent string) (names []string, err error) {
	for at := range p {
		if name, below := strings.CutPrefix(at, parent+"/"); below {
			names = append(names, name)
		}
	}
	return names, nil
}

func (p processes) Procs(at string) ([]int, bool, error) { return p[at], p[at] != nil, nil }

// daemon is one that has left a claim.
type daemon struct {
	Claim
	host Host
	in   registry
}

// left is one whose state directory is: "there", "gone" or one that is there and can't be
// looked at, whoever asks; the lock of its claim is free.
func left(t *testing.T, state string, runs processes) *daemon {
	t.Helper()
	dir := t.TempDir()
	d := &daemon{in: registry(filepath.Join(dir, "claims")), host: Host{Answers: func(string) error { return nil }, Cgroups: runs}}
	d.Claim = Claim{StateDir: filepath.Join(dir, "s"), DataDir: filepath.Join(dir, "d"), CgroupParent: "/parent"}
	if state == "ill" {
		check(t, os.Symlink("loop", filepath.Join(dir, "loop")))
		d.StateDir = filepath.Join(dir, "loop", "s")
	}
	if state == "there" {
		check(t, os.Mkdir(d.StateDir, 0o700))
	}
	check(t, d.in.write(d.Claim))
	check(t, os.WriteFile(lockFile(d.in.file(d.StateDir)), nil, 0o600))
	return d
}

// next is another daemon that works below the same cgroup parent.
func (d *daemon) next(t *testing.T) Claim {
	t.Helper()
	dir := t.TempDir()
	return Claim{StateDir: dir, DataDir: filepath.Join(dir, "d"), CgroupParent: "/parent"}
}

// What a daemon has left is a claim as long as it runs, or sandboxes of it do, or its
// state directory is there; whether that can be looked at holds nobody up.
func TestLeft(t *testing.T) {
	running := processes{"/parent/web": {7}}
	silent := errors.New("it does not answer")
	for name, c := range map[string]struct {
		state    string
		runs     processes
		lives    bool // the daemon
		unlocked bool // the claim's lock is not there
		silent   bool
		kept     bool
		refused  string // whoever comes next; empty: it is not
	}{
		"stopped":                   {state: "there", kept: true},
		"gone":                      {state: "gone"},
		"gone without a lock":       {state: "gone", unlocked: true},
		"gone, ended in its cgroup": {state: "gone", runs: processes{"/parent/web": {}}},
		"gone, sandboxes run":       {state: "gone", runs: running, kept: true, refused: "its sandboxes do (/parent/web)"},
		"gone, and lives":           {state: "gone", lives: true, kept: true, refused: "process"},
		"ill":                       {state: "ill"},
		"ill, sandboxes run":        {state: "ill", runs: running, kept: true, refused: "its sandboxes do (/parent/web)"},
		"ill, and lives":            {state: "ill", lives: true, kept: true, refused: "process"},
		"ill without a lock":        {state: "ill", unlocked: true, kept: true, refused: "if that daemon is gone for good, remove "},
		"silent":                    {state: "there", silent: true, kept: true},
		"silent, sandboxes run":     {state: "there", runs: running, silent: true, kept: true, refused: "its sandboxes do (/parent/web)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := left(t, c.state, c.runs)
			lock := lockFile(d.in.file(d.StateDir))
			if c.lives {
				unlock, err := observed.LockAt(lock, "it")
				check(t, err)
				t.Cleanup(func() { check(t, unlock()) })
			}
			if c.unlocked {
				check(t, os.Remove(lock))
			}
			if c.silent {
				d.host.Answers = func(path string) error {
					if strings.HasPrefix(path, d.StateDir) {
						return silent
					}
					return nil
				}
			}
			_, free, err := d.in.reserve(d.next(t), d.host)
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("who comes next: %v, want %q", err, c.refused)
			}
			if err == nil {
				check(t, free())
			}
			all, err := d.in.claims(d.host)
			check(t, err)
			kept := false
			for _, claim := range all {
				kept = kept || claim.StateDir == d.StateDir
			}
			if kept != c.kept || exists(d.in.file(d.StateDir)) != c.kept {
				t.Errorf("it is kept: %t, %t", kept, exists(d.in.file(d.StateDir)))
			}
		})
	}
}

// Names of any bytes stay what they are, and a claim with one is not taken for one of a
// daemon that is gone. What earlier versions have written is read as ever.
func TestNamesOfAnyBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bad\xff")
	r, host := registry(filepath.Join(dir, "claims")), Host{Answers: func(string) error { return nil }, Cgroups: processes{}}
	want := Claim{StateDir: filepath.Join(dir, "s\xfe"), DataDir: filepath.Join(dir, "d\xfd"), CgroupParent: "/p\xfc",
		Things: []shelf.Thing{{Path: filepath.Join(dir, "\xfb"), What: "it", Hidden: true, Silent: "/\xfa"}}, Kept: []shelf.Kept{}}
	check(t, os.MkdirAll(want.StateDir, 0o700))
	check(t, r.write(want))
	all, err := r.claims(host)
	check(t, err)
	if !reflect.DeepEqual(all, []Claim{want}) {
		t.Errorf("got %+v, want %+v", all, want)
	}
	check(t, os.WriteFile(r.file(want.StateDir), []byte(`{"stateDir":"/s","dataDir":"/d","things":[{"Path":"/a\u00e9","What":"it","Hidden":true,"Replaced":false,"Empty":false,"Silent":""}]}`), 0o600))
	if all, err = r.read(); err != nil || !reflect.DeepEqual(all, []Claim{{StateDir: "/s", DataDir: "/d", Things: []shelf.Thing{{Path: "/aé", What: "it", Hidden: true}}}}) {
		t.Errorf("of an earlier version: %+v, %v", all, err)
	}
}

// A data directory inside another daemon's is refused, and one around it, whatever path
// leads there.
func TestInside(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"one/data/sub/deep", "alias", "part", "link", "else"} {
		check(t, os.MkdirAll(at(name), 0o700))
	}
	for from, to := range map[string]string{"one/data": "alias", "one/data/sub": "part"} {
		check(t, unix.Mount(at(from), at(to), "", unix.MS_BIND, ""))
		t.Cleanup(func() { check(t, unix.Unmount(at(to), unix.MNT_DETACH)) })
	}
	check(t, os.Symlink(at("one"), at("link/one")))
	host := Host{Answers: func(string) error { return nil }, Cgroups: processes{}}
	r := registry(at("claims"))
	first := Claim{StateDir: t.TempDir(), DataDir: at("one/data"), CgroupParent: "/one"}
	_, free, err := r.reserve(first, host)
	check(t, err)
	defer func() { check(t, free()) }()
	for name, taken := range map[string]bool{
		"one/data": true, "alias": true, "alias/sub": true, "alias/sub/deep": true, "part": true, "part/deep": true, "link/one": true, "link/one/data/sub": true,
		"one": true, "else": false,
	} {
		_, free, err := r.reserve(Claim{StateDir: t.TempDir(), DataDir: at(name), CgroupParent: "/two"}, host)
		if errors.Is(err, ErrTaken) != taken || (err != nil) != taken {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			check(t, free())
		}
	}
}

// Of daemons that have had the same cgroup parent one after the other, whose sandbox it is
// is told by their records: the one that is gone has none that run, and the one that has
// them starts again.
func TestOwner(t *testing.T) {
	d := left(t, "gone", processes{"/parent/web": {7}, "/parent/other": nil})
	next := d.next(t)
	check(t, os.MkdirAll(filepath.Join(next.StateDir, "sandboxes", "web"), 0o700))
	_, free, err := d.in.reserve(next, d.host)
	check(t, err)
	for _, c := range []Claim{d.Claim, next} {
		if owner := Owner(c, "web", []Claim{d.Claim, next}, d.host); owner.StateDir != next.StateDir {
			t.Errorf("asked for that of %s, it is that of %s", c.StateDir, owner.StateDir)
		}
	}
	check(t, free())
	all, err := d.in.claims(d.host)
	check(t, err)
	if len(all) != 1 || all[0].StateDir != next.StateDir {
		t.Errorf("left are %+v", all)
	}
}

// A claim of a daemon that is not sure to start comes to what was there before, or to
// nothing, once that has died, and is taken back by whoever takes back what it has
// covered; so it is when it is refused.
func TestTentative(t *testing.T) {
	for _, had := range []bool{false, true} {
		d := left(t, "there", processes{})
		first := Claim{StateDir: d.StateDir, DataDir: d.DataDir, CgroupParent: "/parent", Things: []shelf.Thing{{What: "the first", Path: "/a"}}, Kept: []shelf.Kept{{}}}
		if had {
			check(t, d.in.write(first))
		} else {
			check(t, remove(d.in.file(d.StateDir)))
		}
		claimed := func(when string, want ...string) {
			t.Helper()
			all, err := d.in.claims(d.host)
			check(t, err)
			var got []string
			for _, c := range all {
				for _, thing := range c.Things {
					got = append(got, thing.What)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q are claimed, not %q (there was one: %t)", when, got, want, had)
			}
		}
		var before []string
		if had {
			before = []string{"the first"}
		}
		begin := func() (Claim, func() error) {
			t.Helper()
			own, free, err := d.in.reserve(Claim{StateDir: d.StateDir, DataDir: d.DataDir, CgroupParent: "/parent"}, d.host)
			check(t, err)
			if own.Starting == "" || (own.Before != nil) != had {
				t.Errorf("it is not tentative: %+v", own)
			}
			own.Things = []shelf.Thing{{What: "the second", Path: "/b"}}
			check(t, d.in.write(own))
			claimed("starting", "the second")
			return own, free
		}
		own, free := begin()
		check(t, d.in.takeBack(own, false)) // it lives
		claimed("still starting", "the second")
		check(t, d.in.takeBack(own, true))
		check(t, free())
		claimed("refused", before...)
		if exists(d.in.file(d.StateDir)) != had {
			t.Error("its file is not as it was")
		}

		own, free = begin()
		check(t, free())
		claimed("dead", before...)
		again, free := begin()
		if !again.Again || again.Starting != own.Starting {
			t.Errorf("the next one does not know what the dead one has covered: %+v", again)
		}
		check(t, free())
		all, err := d.in.abandoned()
		check(t, err)
		if len(all) != 1 || all[0].Starting != own.Starting {
			t.Fatalf("abandoned are %+v", all)
		}
		check(t, d.in.takeBack(all[0], false))
		claimed("taken back", before...)
		if all, err := d.in.abandoned(); err != nil || len(all) != 0 {
			t.Errorf("abandoned are %+v, %v", all, err)
		}
	}
}

// Who covers waits for nobody for long, and is told so; who waits for it ends with its
// context.
func TestCovers(t *testing.T) {
	in := registry(filepath.Join(t.TempDir(), "claims"))
	one, sure, err := in.covering(t.Context(), time.Hour)
	check(t, err)
	other, alike, err := in.covering(t.Context(), time.Hour)
	check(t, err)
	if !sure || !alike {
		t.Error("two that cover are in each other's way")
	}
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := in.covers(soon, unix.LOCK_EX, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waits to be alone: %v", err)
	}
	one()
	other()
	alone, err := in.covers(t.Context(), unix.LOCK_EX, time.Hour)
	check(t, err)
	done, sure, err := in.covering(t.Context(), 0)
	check(t, err)
	if sure {
		t.Error("it is not told that somebody uncovers")
	}
	done()
	alone()
}
