package desired

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
)

// bubble runs a Directory without events in fake time.
func bubble(t *testing.T, cfg Config, test func(r *rig)) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg.Dirs, cfg.Store, cfg.NoEvents = []string{filepath.Join(root, "m")}, filepath.Join(root, "store"), true
		r := &rig{t: t, root: root, cfg: cfg}
		r.mkdir("m")
		test(r)
		r.stop()
	})
}

// now gives what is declared this very moment, once all scans that are due
// have ended.
func (r *rig) now() string {
	synctest.Wait()
	return strings.Join(words(r.d.Set()), " ")
}

func (r *rig) want(want string) {
	r.t.Helper()
	if got := r.now(); got != want {
		r.t.Fatalf("%s: got %q, want %q", time.Now().Format("15:04:05.000"), got, want)
	}
}

func TestTimesOfRemoval(t *testing.T) {
	bubble(t, Config{Resync: 30 * time.Second, Settle: time.Second, DeletionGuard: 0.5}, func(r *rig) {
		r.put("m/w.yaml", doc("web", 1))
		r.start()
		r.want("web@1")
		r.remove("m/w.yaml")
		time.Sleep(30*time.Second - time.Nanosecond) // no event, no scan
		r.want("web@1")
		time.Sleep(time.Nanosecond)
		r.want("web(pending) web@1")
		if due := r.d.Set().Pending["web"]; due != time.Now().Add(time.Second) {
			t.Errorf("due at %v", due)
		}
		time.Sleep(time.Second - time.Nanosecond)
		r.want("web(pending) web@1")
		time.Sleep(time.Nanosecond) // does not wait for the next resync
		r.want("")
	})
}

// What was removed shortly before a restart counts for the guard as long as it
// would have without one, however the clock was set meanwhile; after a reboot, for
// the whole window.
func TestGuardOverARestart(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		away time.Duration
		set  time.Duration // of the clock
		boot string
		held bool
	}{
		"at once":                    {0, 0, "b", true},
		"within the window":          {guardWindow - 1, 0, "b", true},
		"after it":                   {guardWindow, 0, "b", false},
		"clock ahead":                {guardWindow - 1, year, "b", true},
		"clock ahead, after it":      {guardWindow, year, "b", false},
		"clock put back":             {guardWindow - 1, -year, "b", true},
		"clock put back, after it":   {guardWindow, -year, "b", false},
		"a reboot":                   {time.Hour, 0, "another", true},
		"a reboot, clock put back":   {time.Hour, -year, "another", true},
		"a long while without power": {time.Hour, year, "another", true},
	} {
		t.Run(name, func(t *testing.T) {
			set, boot, began := time.Duration(0), "b", time.Time{}
			cfg := Config{Resync: 30 * time.Second, DeletionGuard: 0.5,
				Now:   func() time.Time { return time.Now().Add(set) },
				Awake: func() (time.Duration, string) { return time.Since(began), boot }}
			bubble(t, cfg, func(r *rig) {
				began = time.Now()
				for _, name := range []string{"a", "b", "c", "d"} {
					r.put("m/"+name+".yaml", doc(name, 1))
				}
				r.start()
				r.want("a@1 b@1 c@1 d@1")
				r.remove("m/a.yaml")
				r.remove("m/b.yaml")
				time.Sleep(30 * time.Second)
				r.want("c@1 d@1") // just half
				r.stop()
				time.Sleep(c.away)
				set, boot = c.set, c.boot
				r.remove("m/c.yaml")
				r.start()
				if held := strings.Contains(r.now(), "c(held)"); held != c.held {
					t.Errorf("held: %t; it is %q", held, r.now())
				}
				r.stop()
				// And no longer than that, whoever reads it.
				r.put("m/c.yaml", doc("c", 1))
				r.start()
				r.want("c@1 d@1")
				time.Sleep(guardWindow)
				r.remove("m/c.yaml")
				time.Sleep(30 * time.Second)
				r.want("d@1")
			})
		})
	}
}

func TestTimeOfAnEmptyFile(t *testing.T) {
	bubble(t, Config{Resync: time.Minute, Settle: time.Second, DeletionGuard: 1}, func(r *rig) {
		r.put("m/w.yaml", doc("web", 1))
		r.start()
		r.want("web@1")
		r.write(r.path("m/w.yaml"), "")
		r.d.Rescan()
		r.want("web@1") // a writer may be at work
		time.Sleep(time.Second)
		r.want("!w.yaml web@1")
		time.Sleep(time.Hour)
		r.want("!w.yaml web@1")
	})
}

// A manifest that turns into something that is none keeps what it declared.
func TestTurnedIntoNoFile(t *testing.T) {
	bubble(t, Config{Resync: time.Minute, Settle: time.Second, DeletionGuard: 1}, func(r *rig) {
		for _, name := range []string{"a", "b", "c", "d"} {
			r.put("m/"+name+".yaml", doc(name, 1))
		}
		r.start()
		r.want("a@1 b@1 c@1 d@1")
		for _, name := range []string{"a", "b", "c", "d"} {
			r.remove("m/" + name + ".yaml")
		}
		r.link("a.yaml", "m/a.yaml") // leads to itself
		r.must(syscall.Mkfifo(r.path("m/b.yaml"), 0o644))
		r.link("/", "m/c.yaml")
		time.Sleep(time.Hour)
		r.want("!a.yaml !b.yaml !c.yaml a@1 b@1 c@1")
	})
}

// An edit that leaves size and time stamps as they were is seen at the next
// scan while it is young; a file that has rested is not read again.
func TestEditWithinTheClocksTick(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "w.yaml")
	later := time.Duration(0)
	s := &scanner{roots: []root{{path: dir}}, allowUnsafe: true, answers: allAnswer, reach: outOfReach, now: func() time.Time { return time.Now().Add(later) }}
	grace := func() int64 { return *s.scan().files[0].docs[0].Sandbox.Spec.TerminationGracePeriodSeconds }
	edit := func(version int) {
		if err := os.WriteFile(file, []byte(doc("web", version)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// As if the file had been read in its present state, with what it held before.
	tamper := func() {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		got := s.cache[file]
		got.stamp, _ = stampOf(info)
		s.cache[file] = got
	}
	edit(1)
	if got := grace(); got != 1 {
		t.Fatalf("version %d", got)
	}
	edit(2)
	tamper()
	if got := grace(); got != 2 {
		t.Errorf("a young edit was not seen: version %d", got)
	}
	later = 3 * time.Second
	grace() // read once more, at rest
	edit(3)
	tamper()
	if got := grace(); got != 2 {
		t.Errorf("a file at rest was read again: version %d", got)
	}
	edit(4)
	if got := grace(); got != 4 {
		t.Errorf("an edit was not seen: version %d", got)
	}
}

// However many ask while a scan runs, it is one more; and idling costs the
// resync alone.
func TestRescansCoalesce(t *testing.T) {
	var looks atomic.Int32
	bubble(t, Config{Resync: time.Hour, Settle: time.Second, DeletionGuard: 1}, func(r *rig) {
		gate := make(chan struct{})
		r.cfg.Now = func() time.Time {
			looks.Add(1) // once a scan, with no file to read and nothing pending
			<-gate
			return time.Now()
		}
		r.start()
		synctest.Wait() // in the first scan
		for range 1000 {
			r.d.Rescan()
		}
		close(gate)
		r.want("")
		if n := looks.Load(); n != 2 {
			t.Errorf("1000 requests while one scan ran led to %d scans in all, want 2", n)
		}
		time.Sleep(24 * time.Hour)
		r.want("")
		if n := looks.Load(); n != 2+24 {
			t.Errorf("a day of idling led to %d scans, want 24", n-2)
		}
	})
}

// What stays as it is is neither logged nor reported nor written again.
func TestIdleIsSilent(t *testing.T) {
	var lines []string
	cfg := Config{Resync: time.Minute, Settle: time.Second, DeletionGuard: 0.5}
	cfg.Log = funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: 9})
	bubble(t, cfg, func(r *rig) {
		for _, name := range []string{"a", "b", "c", "d"} {
			r.put("m/"+name+".yaml", doc(name, 1))
		}
		r.put("m/bad.yaml", broken)
		r.start()
		r.want("!bad.yaml a@1 b@1 c@1 d@1")
		if names := <-r.changed; !slices.Equal(names, []string{"a", "b", "c", "d"}) {
			t.Errorf("first told of %v", names)
		}
		r.remove("m/a.yaml")
		r.remove("m/b.yaml")
		r.remove("m/c.yaml")
		time.Sleep(10 * time.Minute)
		r.want("!bad.yaml a(held) a@1 b(held) b@1 c(held) c@1 d@1")
		for len(r.changed) > 0 {
			if names := <-r.changed; slices.Contains(names, "d") {
				t.Errorf("told of %v, though d is unchanged", names)
			}
		}
		lines = nil
		before := r.d.Set()
		info, err := os.Stat(r.path("store/a.json"))
		r.must(err)
		time.Sleep(24 * time.Hour)
		r.now()
		if len(lines) > 0 || len(r.changed) > 0 {
			t.Errorf("logged %q, told %d times", lines, len(r.changed))
		}
		after, err := os.Stat(r.path("store/a.json"))
		r.must(err)
		if !os.SameFile(info, after) {
			t.Error("the store was written again")
		}
		if _, differs := changes(before, r.d.Set()); differs {
			t.Error("the set changed")
		}
		r.put("m/bad.yaml", doc("e", 1))
		time.Sleep(time.Minute)
		r.want("a(held) a@1 b(held) b@1 c(held) c@1 d@1 e@1")
		if all := strings.Join(lines, "\n"); !strings.Contains(all, "manifest problem gone") || len(lines) != 2 {
			t.Errorf("logged\n%s", all)
		}
	})
}

func TestRunEnds(t *testing.T) {
	r := newRig(t, false)
	d, err := New(r.cfg)
	r.must(err)
	if d.Set() != nil {
		t.Error("a set before the first scan")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.must(d.Run(ctx, func([]string) {})) // goleak sees what it leaves behind
}
