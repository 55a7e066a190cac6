package desired

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandboxer/internal/sealed"
)

func TestRestartKeepsTheLastAccepted(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.put("m/w.yaml", doc("web", 1)+doc("db", 1))
		r.start()
		r.await("web@1", "db@1")
		r.put("m/w.yaml", doc("web", 2)+broken)
		r.await("web@2", "db@1", "!w.yaml")
		r.stop()
		r.put("m/w.yaml", broken)
		r.start()
		r.await("web@2", "db@1", "!w.yaml")
		r.stop()
		r.rename("m", "away")
		r.start() // with the directory missing, the store is all there is
		s := r.await("web@2", "db@1", "blocked", "!"+r.path("m"))
		if got := s.Sandboxes["web"].Source; got != "w.yaml" {
			t.Errorf("source %q", got)
		}
		r.stop()
		r.rename("away", "m")
		r.put("m/w.yaml", doc("web", 3))
		r.start() // what went while nobody watched starts to settle now
		r.await("web@3")
		r.stop()
		if got := stored(t, r); !slices.Equal(got, []string{"web.json"}) {
			t.Errorf("stored %v", got)
		}
		r.remove("m/w.yaml")
		r.start()
		r.await()
		r.stop()
		if got := stored(t, r); len(got) > 0 {
			t.Errorf("stored %v", got)
		}
	})
}

func stored(t *testing.T, r *rig) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(r.cfg.Store)
	r.must(err)
	for _, e := range entries {
		if file, ok := sealed.Of(e.Name()); ok && file == e.Name() {
			names = append(names, file)
		}
	}
	return names
}

// untold fails the test where damage is told of.
func untold(t *testing.T) func(name, damage string) {
	return func(name, damage string) { t.Errorf("%s: %s", name, damage) }
}

// Sandboxes that come out of the store are as those that went in.
func TestStoreRoundTrip(t *testing.T) {
	docs := Decode("w.yaml", []byte(one+"    oomScoreAdj: 0\n    resources: {limits: {memory: 1.5Gi}}\n    env: [{name: A, value: \"\\x01é\"}]\n"))
	dir := filepath.Join(t.TempDir(), "a/b")
	st, _, _, err := openStore(dir, untold(t))
	if err != nil {
		t.Fatal(err)
	}
	want := entry{sandbox: docs[0].Sandbox, path: "/m\xff/w.yaml", held: true}
	if err := st.sync(map[string]entry{"web": want}); err != nil {
		t.Fatal(err)
	}
	_, got, lost, err := openStore(dir, untold(t))
	if err != nil || len(lost) > 0 {
		t.Fatal(err, lost)
	}
	e := got["web"]
	if !e.sandbox.same(want.sandbox) || e.path != want.path || !e.held || e.confirmed || !e.absent.IsZero() {
		t.Errorf("got %+v, want %+v", e, want)
	}
}

// A stored document that is damaged may be the only trace of a sandbox.
func TestStoreDamaged(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.put("m/w.yaml", doc("web", 1))
		r.put("m/x.yaml", doc("x", 1))
		r.put("m/y.yaml", doc("y", 1))
		r.start()
		r.await("web@1", "x@1", "y@1")
		r.stop()
		for _, name := range []string{"web", "x"} {
			r.write(r.path("store/"+name+".json"), `{"path": "/m/`)
			r.write(r.path("store/."+name+".json.copy"), `{"path": "/m/`)
		}
		r.write(r.path("store/.web.json123"), "what a crash left")
		r.put("m/w.yaml", broken)
		r.remove("m/y.yaml")
		r.start()
		// x is declared by its manifest again, web is not; y has to wait for it.
		s := r.await("x@1", "y@1", "blocked", "!w.yaml", "!"+r.path("store/web.json"))
		wantMessage(t, s.Problems, r.path("store/web.json"), "or this file is deleted")
		if s.Hold("web") == "" {
			t.Error("web is not held")
		}
		r.put("m/w.yaml", doc("web", 2))
		r.await("web@2", "x@1")
		r.stop()
		r.write(r.path("store/old.json"), "")
		r.start()
		r.await("web@2", "x@1", "blocked", "!"+r.path("store/old.json"))
		r.remove("store/old.json")
		r.d.Rescan()
		r.await("web@2", "x@1")
		r.stop()
		if got := stored(t, r); !slices.Equal(got, []string{"web.json", "x.json"}) {
			t.Errorf("stored %v", got)
		}
	})
}

// A stored document that is damaged, or gone, costs nothing where it has a copy,
// and one of a version that wrote neither copy nor checksum is read.
func TestStoreMended(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		probed := func(name string) string {
			return strings.Replace(doc(name, 1), "bundle: /b", "bundle: /b, livenessProbe: {exec: {command: [/bin/true]}}", 1)
		}
		for _, name := range []string{"flipped", "gone", "swapped", "old"} {
			r.put("m/"+name+".yaml", probed(name))
		}
		r.start()
		r.await("flipped@1", "gone@1", "swapped@1", "old@1")
		r.stop()
		for _, name := range []string{"flipped", "gone", "swapped", "old"} {
			r.put("m/"+name+".yaml", broken)
		}
		edit := func(name, old, new string) {
			data, err := os.ReadFile(r.path("store/" + name + ".json"))
			r.must(err)
			if !strings.Contains(string(data), old) {
				t.Fatalf("%s has no %s", data, old)
			}
			r.write(r.path("store/"+name+".json"), strings.Replace(string(data), old, new, 1))
		}
		edit("flipped", `"periodSeconds":`, `"periodSecondt":`)
		edit("swapped", `"name":"swapped"`, `"name":"flipped"`)
		r.remove("store/gone.json")
		// As an earlier version has it, and without a key that it did not know.
		data, err := os.ReadFile(r.path("store/old.json"))
		r.must(err)
		unsealed, _, _ := strings.Cut(string(data), `,"checksum"`)
		r.write(r.path("store/old.json"), strings.Replace(unsealed, `"periodSeconds":10,`, ``, 1)+"}")
		r.remove("store/.old.json.copy")
		var told []string
		r.cfg.Damaged = func(name, damage string) {
			if !strings.Contains(damage, "its copy is used") {
				t.Errorf("%s: %s", name, damage)
			}
			told = append(told, name)
		}
		r.start()
		s := r.await("flipped@1", "gone@1", "swapped@1", "old@1", "!flipped.yaml", "!gone.yaml", "!swapped.yaml", "!old.yaml")
		if p := s.Sandboxes["old"].Spec.Containers[0].LivenessProbe; p.PeriodSeconds != 10 {
			t.Errorf("%+v", p)
		}
		r.stop()
		if !slices.Equal(told, []string{"flipped", "gone", "swapped"}) {
			t.Errorf("told of %q", told)
		}
		for _, name := range []string{"flipped", "swapped"} {
			if _, err := os.Stat(r.path("store/" + name + ".json.damaged")); err != nil {
				t.Error(err)
			}
		}
		r.cfg.Damaged = untold(t)
		r.start()
		r.await("flipped@1", "gone@1", "swapped@1", "old@1", "!flipped.yaml", "!gone.yaml", "!swapped.yaml", "!old.yaml")
		r.stop()
	})
}

// A removal that is held is on disk before anybody is told of it: whoever acts
// on that and crashes the daemon must find it held.
func TestHeldIsKeptBeforeItIsTold(t *testing.T) {
	r := newRig(t, false)
	for _, name := range []string{"a", "b", "c", "d"} {
		r.put("m/"+name+".yaml", doc(name, 1))
	}
	r.start()
	r.await("a@1", "b@1", "c@1", "d@1")
	r.stop()
	for _, name := range []string{"a", "b", "c"} {
		r.remove("m/" + name + ".yaml")
	}
	d, err := New(r.cfg)
	r.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	told := false
	r.must(d.Run(ctx, func([]string) {
		if len(d.Set().Held) < 3 {
			return
		}
		told = true
		cancel()
		_, kept, _, err := openStore(r.cfg.Store, untold(t))
		if err != nil || !kept["a"].held || !kept["b"].held || !kept["c"].held || kept["d"].held {
			t.Errorf("when it was told, %+v was kept, %v", kept, err)
		}
	}))
	if !told {
		t.Error("nothing was held")
	}
}

func TestStoreFails(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.start()
		r.await()
		r.remove("store")
		r.put("store", "in the way")
		r.put("m/w.yaml", doc("web", 1))
		s := r.await("web@1", "!"+r.path("store")) // in force all the same
		wantMessage(t, s.Problems, r.path("store"), "not kept for a restart")
		r.remove("store")
		r.mkdir("store")
		r.d.Rescan()
		r.await("web@1")
		r.stop()
		if got := stored(t, r); !slices.Equal(got, []string{"web.json"}) {
			t.Errorf("stored %v", got)
		}
	})
}

// A store that somebody removes is there again after the next scan, with all that
// was in it.
func TestStoreRemoved(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.start()
		r.put("m/w.yaml", doc("web", 1))
		r.put("m/d.yaml", doc("db", 1))
		r.await("db@1", "web@1")
		for os.RemoveAll(r.path("store")) != nil { // what is being written may come into it meanwhile
		}
		if err := r.d.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.stop()
		if got := stored(t, r); !slices.Equal(got, []string{"db.json", "web.json"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	good := Config{Dirs: []string{"/m"}, Resync: 1, DeletionGuard: 0.5}
	for what, spoil := range map[string]func(*Config){
		"no directory":       func(c *Config) { c.Dirs = nil },
		"no resync":          func(c *Config) { c.Resync = 0 },
		"settle below 0":     func(c *Config) { c.Settle = -1 },
		"guard above 1":      func(c *Config) { c.DeletionGuard = 1.1 },
		"store in no folder": func(c *Config) { c.Store = "/dev/null/store" },
	} {
		cfg := good
		spoil(&cfg)
		if d, err := New(cfg); err == nil || d != nil {
			t.Errorf("%s: New gives %v, %v", what, d, err)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
