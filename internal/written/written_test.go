package written

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func answers(string) error { return nil }

// open opens what is at a path without links.
func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	check(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func placeOf(t *testing.T, path string) shelf.Place {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	check(t, err)
	defer f.Close()
	p, err := shelf.Locate(f, mounts(t))
	check(t, err)
	return p
}

func mounts(t *testing.T) []mountinfo.Mount {
	t.Helper()
	all, err := mountinfo.Read()
	check(t, err)
	return all
}

func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	return dir
}

// touch changes a file, as root does who vouches for it, until that is later than now:
// the kernel's clock for files has ticks.
func touch(t *testing.T, path string) {
	t.Helper()
	now := time.Now()
	for {
		check(t, os.Chtimes(path, time.Time{}, time.Now()))
		var st unix.Stat_t
		check(t, unix.Stat(path, &st))
		if time.Unix(st.Ctim.Unix()).After(now) {
			return
		}
	}
}

// What somebody removes is written down again, of those sandboxes that can write.
func TestKeep(t *testing.T) {
	logs, dir := filepath.Join(realDir(t), "written"), realDir(t)
	for _, name := range []string{"one", "two"} {
		check(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	one, two := placeOf(t, filepath.Join(dir, "one")), placeOf(t, filepath.Join(dir, "two"))
	l := New(logs, "/mine", answers)
	writers := func(want ...string) {
		t.Helper()
		all, err := l.Writers()
		check(t, err)
		var got []string
		for _, w := range all {
			state := " can"
			if !w.Until.IsZero() {
				state = " could"
			}
			got = append(got, fmt.Sprint(w.Sandbox, state, len(w.Places)))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check(t, l.Begin("web", []shelf.Place{one}))
	check(t, l.Begin("job", []shelf.Place{two}))
	check(t, l.End("job"))
	writers("job could1", "web can1")
	check(t, os.RemoveAll(logs))
	writers()
	check(t, l.Keep())
	writers("web can1")
	check(t, l.Keep())
	writers("web can1")
	// Neither what comes to it nor its end forgets what was removed.
	check(t, os.RemoveAll(logs))
	check(t, l.Begin("web", []shelf.Place{two}))
	writers("web can2")
	check(t, os.RemoveAll(logs))
	check(t, l.End("web"))
	writers("web could1", "web could1")
	check(t, l.Keep())
	writers("web could1", "web could1")
	// A later daemon's sandboxes begin once more.
	check(t, l.Begin("web", []shelf.Place{one}))
	later := New(logs, "/mine", answers)
	check(t, later.Begin("web", []shelf.Place{one}))
	check(t, os.RemoveAll(logs))
	check(t, later.Keep())
	writers("web can1")
}

// What a sandbox can write, and could, is known to every daemon's log, and only
// what was changed since is somebody else's.
func TestWriters(t *testing.T) {
	logs, dir := realDir(t), realDir(t)
	file := filepath.Join(dir, "v", "file")
	check(t, os.MkdirAll(filepath.Dir(file), 0o755))
	check(t, os.WriteFile(file, nil, 0o644))
	mine, others := New(logs, "/mine", answers), New(logs, "/others", answers)
	refused := func(want string) {
		t.Helper()
		all, err := mine.Writers()
		check(t, err)
		if err := all.Refusal(open(t, file), file); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refused("")
	check(t, others.Begin("web", []shelf.Place{placeOf(t, filepath.Join(dir, "v"))}))
	check(t, others.Begin("web", []shelf.Place{placeOf(t, logs)}))
	refused(`sandbox "web" can write`)
	check(t, mine.Adopt(func(string) bool { return false })) // knows nothing of another daemon's
	check(t, mine.End("web"))
	refused(`sandbox "web" can write`)
	check(t, others.End("web"))
	check(t, others.End("web"))
	refused(`sandbox "web" could write until `)
	touch(t, file)
	refused("")
	check(t, others.Begin("web", []shelf.Place{placeOf(t, dir)}))
	refused(`sandbox "web" can write`)
	check(t, others.Adopt(func(name string) bool { return name == "web" }))
	refused(`sandbox "web" can write`)
	check(t, others.Adopt(func(string) bool { return false }))
	refused(`sandbox "web" could write until `)
	check(t, os.WriteFile(filepath.Join(logs, "bad.json"), []byte("{"), 0o600))
	if _, err := mine.Writers(); err == nil {
		t.Error("a file that can't be read is passed over")
	}
}

// Of those that could write to a place the one counts that ended last, also where the
// clock was put back after that.
func TestClockPutBack(t *testing.T) {
	logs, dir := realDir(t), realDir(t)
	l, place := New(logs, "/mine", answers), placeOf(t, dir)
	last := time.Now().Add(time.Hour)
	check(t, l.ended(Writer{StateDir: "/others", Sandbox: "last", Until: last}, place))
	check(t, l.Begin("web", []shelf.Place{place}))
	check(t, l.End("web"))
	all, err := l.Writers()
	check(t, err)
	if w := all.Of(shelf.Way{Places: []shelf.Place{place}}, last); w == nil || w.Sandbox != "last" {
		t.Errorf("what was written last may be the work of %+v", w)
	}
}

// Places are forgotten once nothing is there.
func TestPrune(t *testing.T) {
	logs, dir := realDir(t), realDir(t)
	l := New(logs, "/mine", answers)
	for _, name := range []string{"stays", "goes"} {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		check(t, l.Begin(name, []shelf.Place{placeOf(t, filepath.Join(dir, name))}))
		check(t, l.End(name))
	}
	check(t, l.Begin("runs", []shelf.Place{placeOf(t, filepath.Join(dir, "goes"))}))
	check(t, os.Remove(filepath.Join(dir, "goes")))
	silent := errors.New("silent")
	asked := 0
	l.answers = func(string) error { asked++; return silent }
	check(t, l.Adopt(func(string) bool { return true }))
	names := func() (names []string) {
		all, err := l.Writers()
		check(t, err)
		for _, w := range all {
			names = append(names, w.Sandbox)
		}
		slices.Sort(names)
		return names
	}
	if got := names(); !slices.Equal(got, []string{"goes", "runs", "stays"}) {
		t.Errorf("what does not answer is gone: %q", got)
	}
	if asked != 1 {
		t.Errorf("a file system that does not answer was waited for %d times", asked)
	}
	l.answers = answers
	check(t, l.Adopt(func(string) bool { return true }))
	if got := names(); !slices.Equal(got, []string{"runs", "stays"}) {
		t.Errorf("left: %q", got)
	}
}

// A file that has other names is not obeyed where a container could have one of
// them; names in its own folder are as safe as that.
func TestHardLinks(t *testing.T) {
	logs, dir := realDir(t), realDir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"safe", "v"} {
		check(t, os.Mkdir(at(d), 0o755))
	}
	check(t, os.WriteFile(at("safe/file"), nil, 0o644))
	check(t, os.Link(at("safe/file"), at("safe/twin")))
	l := New(logs, "/mine", answers)
	refused := func() error {
		all, err := l.Writers()
		check(t, err)
		if err := all.RefusalElse(open(t, at("safe/file")), at("safe/file")); (err == nil) != (all.Refusal(open(t, at("safe/file")), at("safe/file")) == nil) {
			t.Error(err)
		}
		return all.RefusalElse(open(t, at("safe/file")), at("safe/file"))
	}
	check(t, l.Begin("web", []shelf.Place{placeOf(t, at("v"))}))
	check(t, refused())
	check(t, os.Link(at("safe/file"), at("v/name")))
	if err := refused(); err == nil || !strings.Contains(err.Error(), "hard links") {
		t.Errorf("another name in a volume: %v", err)
	}
	check(t, l.End("web"))
	if err := refused(); err == nil {
		t.Error("another name in what was a volume")
	}
	touch(t, at("safe/file"))
	check(t, refused())
	check(t, l.Begin("else", []shelf.Place{{Device: "0:99999", At: "/"}}))
	check(t, refused())
}

// A place is the thing that was there, too, whatever root calls it since, and is
// remembered until that is gone.
func TestRenamed(t *testing.T) {
	logs, dir := realDir(t), realDir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.MkdirAll(at("v/sub"), 0o755))
	check(t, os.WriteFile(at("v/sub/file"), nil, 0o644))
	check(t, os.WriteFile(at("single"), nil, 0o644))
	l := New(logs, "/mine", answers)
	refused := func(name, want string) {
		t.Helper()
		all, err := l.Writers()
		check(t, err)
		f, err := os.OpenFile(at(name), unix.O_PATH|unix.O_NOFOLLOW, 0)
		check(t, err)
		defer f.Close() // else it would not be gone
		if err := all.Refusal(f, at(name)); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	check(t, l.Begin("web", []shelf.Place{placeOf(t, at("v")), placeOf(t, at("single"))}))
	check(t, os.Rename(at("v"), at("w")))
	check(t, os.Rename(at("single"), at("renamed")))
	check(t, os.MkdirAll(at("deep/er"), 0o755))
	for _, name := range []string{"w", "w/sub", "w/sub/file", "renamed"} {
		refused(name, `sandbox "web" can write`)
	}
	refused("deep/er", "")
	check(t, l.End("web"))
	check(t, os.Rename(at("w"), at("deep/er/x")))
	// Another thing where it was takes nothing away.
	check(t, os.Mkdir(at("v"), 0o755))
	check(t, l.Begin("web", []shelf.Place{placeOf(t, at("v"))}))
	check(t, l.End("web"))
	check(t, os.Remove(at("v")))
	check(t, l.Adopt(func(string) bool { return true }))
	for _, name := range []string{"deep/er/x/sub", "deep/er/x/sub/file", "renamed"} {
		refused(name, `sandbox "web" could write until `)
	}
	// Also where it is mounted by itself, below no folder of that name.
	check(t, os.Mkdir(at("bind"), 0o755))
	check(t, unix.Mount(at("deep/er/x/sub"), at("bind"), "", unix.MS_BIND, ""))
	unmount := sync.OnceFunc(func() { check(t, unix.Unmount(at("bind"), 0)) })
	t.Cleanup(unmount)
	refused("bind/file", `sandbox "web" could write until `)
	touch(t, at("deep/er/x/sub/file"))
	refused("deep/er/x/sub/file", "")
	unmount()
	check(t, os.RemoveAll(at("deep/er")))
	check(t, os.Remove(at("renamed")))
	// It is not gone before nobody on the host has it open.
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		check(t, l.Adopt(func(string) bool { return true }))
		all, err := l.Writers()
		if err == nil && len(all) == 0 {
			break
		}
		if err != nil || time.Since(began) > 10*time.Second {
			t.Fatalf("what is gone is remembered: %+v, %v", all, err)
		}
	}
}

// A file system stays itself by way of another device.
func TestOtherDevice(t *testing.T) {
	logs, dir := realDir(t), realDir(t)
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	check(t, os.WriteFile(image, nil, 0o600))
	check(t, os.Truncate(image, 16<<20))
	check(t, os.Mkdir(at, 0o755))
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("mkfs.ext4", "-q", image)
	mount := func() (device string, unmount func()) {
		device = run("losetup", "--find", "--show", image)
		t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
		check(t, unix.Mount(device, at, "ext4", 0, ""))
		unmount = sync.OnceFunc(func() { check(t, unix.Unmount(at, 0)) })
		t.Cleanup(unmount)
		return device, unmount
	}
	first, unmount := mount()
	file, twin := filepath.Join(at, "v", "file"), filepath.Join(at, "twin")
	check(t, os.Mkdir(filepath.Dir(file), 0o755))
	check(t, os.WriteFile(file, nil, 0o644))
	l := New(logs, "/mine", answers)
	check(t, l.Begin("web", []shelf.Place{placeOf(t, filepath.Dir(file))}))
	check(t, os.Link(file, twin))
	check(t, l.End("web"))
	unmount()
	// The first one's number may be another disk's by then.
	second, _ := mount()
	if second == first {
		t.Fatalf("%s is in use twice", first)
	}
	check(t, l.Adopt(func(string) bool { return true }))
	all, err := l.Writers()
	check(t, err)
	for _, name := range []string{file, twin} {
		if err := all.Refusal(open(t, name), name); err == nil || !strings.Contains(err.Error(), "could write until") {
			t.Errorf("%s: %v", name, err)
		}
	}
	touch(t, file)
	check(t, all.Refusal(open(t, file), file))
}

// What is written by way of an overlay is in its upper directory, and what is written
// in a directory that an overlay is made of shows in it.
func TestOverlays(t *testing.T) {
	// A disk of its own, which overlays can be made of whatever is below.
	dir := realDir(t)
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"lower/old", "lower/else", "upper", "work", "merged", "safe", "safe2"} {
		check(t, os.MkdirAll(at(d), 0o755))
	}
	for _, file := range []string{"lower/old/file", "lower/else/file", "safe/file"} {
		check(t, os.WriteFile(at(file), nil, 0o644))
	}
	mount := func(options string) (unmount func()) {
		t.Helper()
		check(t, unix.Mount("overlay", at("merged"), "overlay", 0, options))
		unmount = sync.OnceFunc(func() { check(t, unix.Unmount(at("merged"), unix.MNT_DETACH)) })
		t.Cleanup(unmount)
		return unmount
	}
	could := func(volume string, want map[string]bool) {
		t.Helper()
		l := New(realDir(t), "/mine", answers)
		f, err := os.OpenFile(at(volume), unix.O_PATH|unix.O_NOFOLLOW, 0)
		check(t, err)
		places, err := shelf.Places(f, mounts(t), nil)
		f.Close()
		check(t, err)
		check(t, l.Begin("web", places))
		for _, ended := range []bool{false, true} {
			if ended {
				check(t, l.End("web"))
				check(t, l.Adopt(func(string) bool { return true }))
			}
			all, err := l.Writers()
			check(t, err)
			for name, refused := range want {
				f, err := os.OpenFile(at(name), unix.O_PATH|unix.O_NOFOLLOW, 0)
				check(t, err)
				if err := all.Refusal(f, at(name)); (err != nil) != refused {
					t.Errorf("volume %s, ended %t: %s: %v", volume, ended, name, err)
				}
				f.Close()
			}
		}
	}
	told := "lowerdir=" + at("lower") + ",upperdir=" + at("upper") + ",workdir=" + at("work")
	unmount := mount(told + ",redirect_dir=on")
	check(t, os.MkdirAll(at("merged/sub"), 0o755))
	check(t, os.WriteFile(at("merged/sub/file"), nil, 0o644))
	could("merged", map[string]bool{"upper/sub/file": true, "merged/sub/file": true, "lower/old/file": false, "safe/file": false})
	could("merged/sub", map[string]bool{"upper/sub/file": true, "merged/old/file": false, "lower/old/file": false})
	could("upper", map[string]bool{"upper/sub/file": true, "merged/sub/file": true, "lower/old/file": false})
	could("lower/old", map[string]bool{"merged/old/file": true, "merged/sub/file": false, "merged/else/file": false, "upper/sub/file": false})
	// A name with what options have to escape, which is read in one way only.
	for _, d := range []string{"up,c", "work2", "named"} {
		check(t, os.Mkdir(at(d), 0o755))
	}
	named(t, at("named"), [2]string{"lowerdir+", at("lower")}, [2]string{"upperdir", at("up,c")}, [2]string{"workdir", at("work2")})
	check(t, os.WriteFile(at("named/file"), nil, 0o644))
	could("named", map[string]bool{"up,c/file": true, "named/file": true, "safe/file": false})
	could("up,c", map[string]bool{"named/file": true, "safe/file": false})
	// A folder of the lower one under another name.
	check(t, os.Rename(at("merged/old"), at("merged/new")))
	could("safe2", map[string]bool{"merged/else/file": false})
	l := New(realDir(t), "/mine", answers)
	check(t, l.Begin("web", []shelf.Place{placeOf(t, at("lower/old"))}))
	touch(t, at("lower/old/file"))
	all, err := l.Writers()
	check(t, err)
	if err := all.Refusal(open(t, at("merged/new/file")), at("merged/new/file")); err == nil || !strings.Contains(err.Error(), "for all that can be told") {
		t.Errorf("a folder that is another one in the lower directory: %v", err)
	}
	unmount()

	// Names that mean nothing to others: what is changed while a sandbox can write
	// may be anywhere in it.
	for _, d := range []string{"upper", "work"} {
		check(t, os.RemoveAll(at(d)))
		check(t, os.Mkdir(at(d), 0o755))
	}
	t.Chdir(dir)
	mount("lowerdir=lower,upperdir=upper,workdir=work")
	check(t, os.WriteFile(at("merged/before"), nil, 0o644))
	could("safe2", map[string]bool{"merged/before": false, "safe/file": false})
	began := func(volume string) Writers {
		l := New(realDir(t), "/mine", answers)
		f := open(t, at(volume))
		places, err := shelf.Places(f, mounts(t), nil)
		check(t, err)
		check(t, l.Begin("web", places))
		touch(t, at("merged/before"))
		touch(t, at("safe/file"))
		all, err := l.Writers()
		check(t, err)
		return all
	}
	for volume, refused := range map[string]string{"safe2": "merged/before", "merged": "safe/file"} {
		all := began(volume)
		if err := all.Refusal(open(t, at(refused)), at(refused)); err == nil || !strings.Contains(err.Error(), "for all that can be told") {
			t.Errorf("volume %s: %s: %v", volume, refused, err)
		}
	}
	all = began("safe2")
	check(t, all.Refusal(open(t, at("safe/file")), at("safe/file")))
}

// named mounts an overlay with options that fsconfig gets as they are.
func named(t *testing.T, at string, options ...[2]string) {
	t.Helper()
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	check(t, err)
	defer unix.Close(fs)
	for _, o := range options {
		check(t, unix.FsconfigSetString(fs, o[0], o[1]))
	}
	check(t, unix.FsconfigCreate(fs))
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	check(t, unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH))
	t.Cleanup(func() { check(t, unix.Unmount(at, unix.MNT_DETACH)) })
}

// Names of any bytes stay what they are, and daemons' own are known again.
func TestNamesOfAnyBytes(t *testing.T) {
	dir := realDir(t)
	l := New(filepath.Join(dir, "log"), "/mine\xff", answers)
	check(t, os.MkdirAll(filepath.Join(dir, "v\xff"), 0o755))
	place := placeOf(t, filepath.Join(dir, "v\xff"))
	check(t, l.Begin("web", []shelf.Place{place}))
	for _, ended := range []bool{false, true} {
		all, err := l.Writers()
		check(t, err)
		if len(all) != 1 || all[0].StateDir != "/mine\xff" || !slices.Equal(all[0].Places, []shelf.Place{place}) || all[0].Until.IsZero() == ended {
			t.Errorf("ended %t: got %+v", ended, all)
		}
		// A later daemon on the same directory, which has it no more.
		check(t, New(l.dir, l.stateDir, answers).Adopt(func(string) bool { return false }))
	}
	var old shelf.Place
	check(t, json.Unmarshal([]byte(`{"Device":"0:5","At":"/a\u00e9","Dev":5,"Inode":7,"Handle":"1:00"}`), &old))
	if want := (shelf.Place{Device: "0:5", At: "/aé", Dev: 5, Inode: 7, Handle: "1:00"}); old != want {
		t.Errorf("of an earlier version: %+v", old)
	}
}

// What is a daemon's own is obeyed if it was changed before a container could, or since
// it is kept from all.
func TestPlanted(t *testing.T) {
	dir := t.TempDir()
	own, inner := filepath.Join(dir, "v", "own"), filepath.Join(dir, "v", "own", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(own, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	place := func(path string) shelf.Place { return placeOf(t, path) }
	changed := func() time.Time {
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err != nil {
			t.Fatal(err)
		}
		return time.Unix(st.Ctim.Unix())
	}()
	before, after := changed.Add(-time.Second), changed.Add(time.Second)
	writer := func(path string, since, until time.Time) Writers {
		return Writers{{Sandbox: "web", Places: []shelf.Place{place(path)}, Since: since, Until: until}}
	}
	kept := func(path string, since time.Time) []shelf.Kept {
		return []shelf.Kept{{Place: place(path), Since: since}}
	}
	none := time.Time{}
	for _, c := range []struct {
		name   string
		all    Writers
		kept   []shelf.Kept
		obeyed bool
	}{
		{"nobody can write", nil, nil, true},
		{"somebody can", writer(filepath.Dir(own), before, none), nil, false},
		{"nobody knows since when", writer(filepath.Dir(own), none, none), nil, false},
		{"since then", writer(filepath.Dir(own), after, none), nil, true},
		{"until then", writer(filepath.Dir(own), none, before), nil, true},
		{"elsewhere", writer(inner, before, none), nil, true},
		{"it is kept", writer(filepath.Dir(own), before, none), kept(own, before), true},
		{"it is kept since", writer(filepath.Dir(own), before, none), kept(own, after), false},
		{"it was always kept", writer(filepath.Dir(own), none, none), kept(own, none), true},
		{"another is kept", writer(filepath.Dir(own), before, none), kept(inner, before), false},
		{"what is around the volume is kept", writer(filepath.Dir(own), before, none), kept(dir, before), false},
		{"one of two is kept from", append(writer(own, before, none), writer(filepath.Dir(own), before, none)...), kept(own, before), true},
	} {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		err = c.all.Planted(f, file, c.kept)
		f.Close()
		if (err == nil) != c.obeyed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Another one in the place of what is kept is none of it.
	k := kept(own, before)
	if err := errors.Join(os.Rename(own, own+".old"), os.MkdirAll(own, 0o755), os.WriteFile(file, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if writer(filepath.Dir(own), before, none).Planted(f, file, k) == nil {
		t.Error("what was put in the place of what is kept is obeyed")
	}
}
