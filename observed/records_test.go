package observed_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

func record(name string) observed.Record {
	return observed.Record{
		Name: name, Runtime: "gvisor", State: observed.SandboxUp, SandboxHash: "s1", LimitsHash: "l1",
		Cgroup: "/sandboxer/" + name, ControlSocket: "/run/x\xff.sock",
		Sentry:              observed.Process{PID: 42, StartTime: 4711},
		OriginalOOMScoreAdj: -3, CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
}

func containerRecord(sandbox, name string) observed.ContainerRecord {
	return observed.ContainerRecord{
		Sandbox: sandbox, Name: name, ID: sandbox + "." + name + ".3", Attempt: 3, Hash: "c1",
		State: observed.Stopped, Gofer: observed.Process{PID: 43, StartTime: 4712},
		StartedAt: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
		Exit: &observed.Exit{Known: true, Code: 137, Signal: 9, At: time.Date(2026, 1, 2, 3, 4, 7, 0, time.UTC),
			Reason: "OOMKilled", Message: "äöü \"quoted\"\n"},
	}
}

// saved writes one sandbox with two containers.
func saved(t testing.TB) (*observed.Records, string) {
	t.Helper()
	r, dir := newRecords(t)
	err := errors.Join(r.Save(record("web")),
		r.SaveContainer(containerRecord("web", "app")), r.SaveContainer(containerRecord("web", "app-2")))
	if err != nil {
		t.Fatal(err)
	}
	return r, filepath.Join(dir, "web")
}

func load(t testing.TB, r *observed.Records, name string) observed.Loaded {
	t.Helper()
	l, err := r.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRecordsComeBack(t *testing.T) {
	r, dir := saved(t)
	l := load(t, r, "web")
	wantRec, wantApp, wantApp2 := record("web"), containerRecord("web", "app"), containerRecord("web", "app-2")
	wantRec.Version, wantRec.BootID = observed.RecordVersion, "boot-1"
	wantApp.Version, wantApp.BootID = observed.RecordVersion, "boot-1"
	wantApp2.Version, wantApp2.BootID = observed.RecordVersion, "boot-1"
	want := observed.Loaded{Record: &wantRec, Containers: []observed.ContainerRecord{wantApp, wantApp2}}
	if !reflect.DeepEqual(ageless(l), want) || l.Record.Generation == 0 {
		t.Errorf("Load = %+v\nwant %+v", l, want)
	}
	for path, perm := range map[string]fs.FileMode{
		filepath.Dir(dir): 0o700, dir: 0o700, dir + "/containers": 0o700,
		dir + "/sandbox.json": 0o600, dir + "/containers/app.json": 0o600,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != perm {
			t.Errorf("%s: %v, %v; want %v", path, st.Mode(), err, perm)
		}
	}
	if l := load(t, r, "other"); !reflect.DeepEqual(l, observed.Loaded{}) {
		t.Errorf("Load of nothing = %+v", l)
	}
}

func TestUnreadableIsNotGone(t *testing.T) {
	r, _ := saved(t)
	var err, listErr error
	noDescriptors(t, func() {
		_, err = r.Load("web")
		_, listErr = r.List()
	})
	if !errors.Is(err, unix.EMFILE) || !errors.Is(listErr, unix.EMFILE) {
		t.Errorf("Load = %v, List = %v; want EMFILE", err, listErr)
	}
}

func TestDirectoryWithoutRecord(t *testing.T) {
	r, dir := saved(t)
	if err := errors.Join(os.Remove(filepath.Join(dir, "sandbox.json")), os.Remove(filepath.Join(dir, ".sandbox.json.copy"))); err != nil {
		t.Fatal(err)
	}
	loseSpares(t, dir)
	if l := load(t, r, "web"); l.Record != nil || l.Broken == "" || len(l.Containers) != 2 {
		t.Errorf("Load = %+v", l)
	}
}

func TestDelete(t *testing.T) {
	r, dir := saved(t)
	if err := r.DeleteContainer("web", "app"); err != nil {
		t.Fatal(err)
	}
	if l := load(t, r, "web"); len(l.Containers) != 1 || l.Containers[0].Name != "app-2" {
		t.Errorf("Load = %+v", l)
	}
	for _, file := range []string{".sandbox.json123", "containers/.app.json456", "containers/junk"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	theirs := filepath.Join(dir, "volume")
	if err := os.WriteFile(theirs, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete("web"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("Delete beside another's file = %v", err)
	}
	if err := os.Remove(theirs); err != nil {
		t.Errorf("another's file: %v", err)
	}
	if names, err := r.List(); err != nil || !slices.Equal(names, []string{"web"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	for range 2 {
		if err := errors.Join(r.Delete("web"), r.DeleteContainer("web", "app")); err != nil {
			t.Errorf("Delete = %v", err)
		}
	}
	if names, err := r.List(); err != nil || len(names) != 0 {
		t.Errorf("List = %q, %v", names, err)
	}
}

func TestListLeavesStrangersOut(t *testing.T) {
	r, dir := newRecords(t)
	if names, err := r.List(); err != nil || names != nil {
		t.Errorf("List before the first record = %q, %v", names, err)
	}
	for _, name := range []string{"web", "db", "a.b_c-1"} {
		if err := r.Save(record(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".hidden", "with space", "ü"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := r.List(); err != nil || !slices.Equal(names, []string{"a.b_c-1", "db", "web"}) {
		t.Errorf("List = %q, %v", names, err)
	}
}

func TestNamesThatReachElsewhere(t *testing.T) {
	r, dir := newRecords(t)
	for _, name := range []string{"", ".", "..", "../web", "a/b", "/a", "a\x00b", "a,b", ".a", "a b", "ä", strings.Repeat("a", 201)} {
		_, err := r.Load(name)
		for _, err := range []error{err, r.Save(record(name)), r.Delete(name), r.DeleteContainer(name, "app"),
			r.DeleteContainer("web", name), r.SaveContainer(containerRecord("web", name)), r.SaveContainer(containerRecord(name, "app"))} {
			if !errors.Is(err, observed.ErrName) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused name wrote something: %v", err)
	}
	if err := observed.CheckName(strings.Repeat("a", 200)); err != nil {
		t.Error(err)
	}
}

func TestReadersSeeWholeRecords(t *testing.T) {
	r, _ := saved(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		rec := record("web")
		for i := range 200 {
			rec.ControlSocket = strings.Repeat("x", i*20)
			if err := r.Save(rec); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		if l := load(t, r, "web"); l.Record == nil {
			t.Errorf("met a record that is %s", l.Broken)
		}
	}
	wg.Wait()
	if entries, err := os.ReadDir(r.Dir("web")); err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestNewRecordsNeedsBoth(t *testing.T) {
	whole := observed.RecordsConfig{StateDir: "/state", BootID: "boot", Key: []byte("key"), Spares: "/generations"}
	for _, spoil := range []func(*observed.RecordsConfig){
		func(c *observed.RecordsConfig) { c.StateDir = "" }, func(c *observed.RecordsConfig) { c.BootID = "" },
		func(c *observed.RecordsConfig) { c.Key = nil }, func(c *observed.RecordsConfig) { c.Spares = "" },
	} {
		c := whole
		spoil(&c)
		if _, err := observed.NewRecords(c); err == nil {
			t.Errorf("NewRecords(%+v) succeeded", c)
		}
	}
	a, err := observed.BootID()
	if b, err2 := observed.BootID(); err != nil || err2 != nil || a != b || len(a) != 36 {
		t.Errorf("BootID = %q, %v, then %q, %v", a, err, b, err2)
	}
}

// Who looks while a record is written has the earlier one or the later one, and no
// word of damage, though a record
// that is not the last is one that somebody has put back.
func TestLoadWhileWritten(t *testing.T) {
	r, _ := saved(t)
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		defer close(done)
		for range 600 {
			if err := r.SaveContainer(containerRecord("web", "app")); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer writing.Wait()
	for {
		if l := load(t, r, "web"); len(l.Damaged) > 0 || len(l.BrokenContainers) > 0 || len(l.Containers) != 2 {
			t.Errorf("loaded meanwhile: %+v", l)
			return
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// Directories in all of a sandbox's records' places, and their spares', are in
// nobody's way.
func TestDirectoriesInTheirPlace(t *testing.T) {
	r, dir := saved(t)
	state := filepath.Dir(filepath.Dir(dir))
	everywhere := func() {
		t.Helper()
		for _, file := range []string{"sandbox.json", "containers/app.json"} {
			hidden := filepath.Join(dir, filepath.Dir(file), "."+filepath.Base(file))
			spare := filepath.Join(state, "spares", "web", file)
			for _, p := range []string{filepath.Join(dir, file), filepath.Join(dir, file) + ".damaged", hidden + ".copy", hidden + ".new", spare, spare + ".last"} {
				if err := errors.Join(os.RemoveAll(p), os.MkdirAll(filepath.Join(p, "x", "y"), 0o700)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	everywhere()
	again := recordsIn(t, state) // as after a restart
	if l := load(t, again, "web"); l.Broken == "" || l.BrokenContainers["app"] == "" {
		t.Errorf("Load = %+v", l)
	}
	if err := errors.Join(again.Save(record("web")), again.SaveContainer(containerRecord("web", "app"))); err != nil {
		t.Fatal(err)
	}
	if l := load(t, recordsIn(t, state), "web"); l.Record == nil || len(l.Containers) != 2 || len(l.Damaged) > 0 {
		t.Errorf("Load = %+v", l)
	}
	everywhere()
	if err := again.DeleteContainer("web", "app"); err != nil {
		t.Error(err)
	}
	everywhere()
	if err := r.Delete("web"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
