package observed

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// cachedRecords holds sandbox "web" with container "app", each of which counts as
// settled at once.
func cachedRecords(t *testing.T) *Records {
	t.Helper()
	r, err := NewRecords(RecordsConfig{StateDir: t.TempDir(), BootID: "boot", Key: []byte("key"), Spares: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.cache.now = func() time.Time { return time.Now().Add(time.Hour) }
	rec := Record{Name: "web", State: SandboxUp, Fields: map[string]string{"a": "b"}}
	app := ContainerRecord{Sandbox: "web", Name: "app", ID: "web.app.1", State: Running, Fields: map[string]string{"c": "d"},
		Objects: []Object{{What: "root"}}, Exit: &Exit{Code: 1}, GoferState: []byte("{}")}
	for _, err := range []error{r.Save(rec), r.SaveContainer(app)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func mustLoad(t *testing.T, r *Records) Loaded {
	t.Helper()
	l, err := r.Load("web")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Whatever is done to a record behind the daemon's back is seen at the next look,
// however much was known of it before.
func TestCacheNoticesEveryChange(t *testing.T) {
	edit := func(t *testing.T, path string, change func([]byte) []byte) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		// The kernel's clock for files may stand still for a moment, which counts
		// as settled here.
		for after := before; after.ModTime().Equal(before.ModTime()); {
			if err := os.WriteFile(path, change(bytes.Clone(data)), 0o600); err != nil {
				t.Fatal(err)
			}
			if after, err = os.Stat(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	for _, c := range []struct {
		name   string
		change func(t *testing.T, r *Records)
		seen   func(Loaded) bool
	}{
		{"a bit of the sandbox's", func(t *testing.T, r *Records) { edit(t, r.sandboxFile("web"), flip) },
			func(l Loaded) bool { return l.Damaged["sandbox.json"] != "" && l.Record != nil }},
		{"a bit of the container's", func(t *testing.T, r *Records) { edit(t, r.containerFile("web", "app"), flip) },
			func(l Loaded) bool { return l.Damaged["containers/app.json"] != "" && len(l.Containers) == 1 }},
		{"a bit with the time set back", func(t *testing.T, r *Records) {
			path := r.sandboxFile("web")
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, path, flip)
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, func(l Loaded) bool { return l.Damaged["sandbox.json"] != "" }},
		{"cut", func(t *testing.T, r *Records) { edit(t, r.sandboxFile("web"), func(b []byte) []byte { return b[:9] }) },
			func(l Loaded) bool { return l.Damaged["sandbox.json"] != "" }},
		{"another one", func(_ *testing.T, r *Records) { _ = r.Save(Record{Name: "web", State: SandboxPaused}) },
			func(l Loaded) bool { return l.Record.State == SandboxPaused }},
		{"removed", func(_ *testing.T, r *Records) { _ = os.Remove(r.sandboxFile("web")) },
			func(l Loaded) bool { return l.Damaged["sandbox.json"] != "" && l.Record != nil }},
		{"removed with its copy", func(_ *testing.T, r *Records) {
			_ = os.Remove(filepath.Join(r.Dir("web"), ".sandbox.json.copy"))
			_ = os.Remove(r.sandboxFile("web"))
		}, func(l Loaded) bool { return l.Damaged["sandbox.json"] != "" && l.Record != nil }},
		{"one more container", func(_ *testing.T, r *Records) {
			_ = r.SaveContainer(ContainerRecord{Sandbox: "web", Name: "more", ID: "web.more.1", State: Running})
		}, func(l Loaded) bool { return len(l.Containers) == 2 }},
		{"no container", func(_ *testing.T, r *Records) { _ = r.DeleteContainer("web", "app") },
			func(l Loaded) bool { return len(l.Containers) == 0 }},
		{"a link to the same", func(t *testing.T, r *Records) {
			path := r.sandboxFile("web")
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+".old", path); err != nil {
				t.Fatal(err)
			}
		}, func(l Loaded) bool { return l.Damaged["sandbox.json"] != "" }},
		{"all is gone", func(_ *testing.T, r *Records) { _ = os.RemoveAll(r.Dir("web")) },
			func(l Loaded) bool { return l.Record == nil && l.Broken == "" && len(l.Containers) == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cachedRecords(t)
			before := mustLoad(t, r)
			if again := mustLoad(t, r); !reflect.DeepEqual(before, again) || len(r.cache.m["web"]) != 3 {
				t.Errorf("%+v, then %+v; known: %+v", before, again, r.cache.m)
			}
			c.change(t, r)
			for range 2 {
				if l := mustLoad(t, r); !c.seen(l) {
					t.Errorf("%+v", l)
				}
			}
		})
	}
}

// Nobody changes for others what he was given.
func TestCacheIsNobodys(t *testing.T) {
	r := cachedRecords(t)
	for range 3 {
		l := mustLoad(t, r)
		c := &l.Containers[0]
		if l.Record.Fields["a"] != "b" || c.Fields["c"] != "d" || c.Objects[0].What != "root" || c.Exit.Code != 1 || string(c.GoferState) != "{}" {
			t.Errorf("%+v", l)
		}
		l.Record.Fields["a"], c.Fields["c"], c.Objects[0].What, c.Exit.Code, c.GoferState[0] = "x", "x", "x", 7, 'x'
	}
}

// What was written a moment ago may be written again without another time: it is
// not kept.
func TestCacheKeepsNothingThatIsNew(t *testing.T) {
	r := cachedRecords(t)
	r.cache.now = func() time.Time { return time.Unix(0, 0) }
	mustLoad(t, r)
	if len(r.cache.m) > 0 {
		t.Errorf("%+v", r.cache.m)
	}
}

// What is gone costs nothing.
func TestCacheForgets(t *testing.T) {
	r := cachedRecords(t)
	mustLoad(t, r)
	if err := r.Delete("web"); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, r)
	if len(r.cache.m) > 0 {
		t.Errorf("%+v", r.cache.m)
	}
}
