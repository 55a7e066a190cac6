package test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// recordsOf are the records of sandboxes, of which copies may be elsewhere, that
// wanted says are meant, by their paths in the directory of sandboxes.
func (w *world) recordsOf(wanted func(sandbox, file string) bool) (records []string) {
	w.t.Helper()
	root := filepath.Join(w.state, "sandboxes")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		sandbox, file, _ := strings.Cut(name, "/")
		isRecord := file == "sandbox.json" || strings.HasPrefix(file, "containers/") && strings.HasSuffix(file, ".json")
		if err == nil && isRecord && !strings.HasPrefix(filepath.Base(file), ".") && wanted(sandbox, file) {
			records = append(records, name)
		}
		if errors.Is(err, fs.ErrNotExist) && path != root {
			return nil // a daemon may have removed a folder meanwhile
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return records
}

// lose removes records, and all that could stand in for them.
func (w *world) lose(records []string) {
	w.t.Helper()
	for _, name := range records {
		path := filepath.Join(w.state, "sandboxes", name)
		hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
		for _, file := range []string{path, path + ".damaged", hidden + ".copy", filepath.Join(w.data, "records", name), filepath.Join(w.data, "records", name+".last")} {
			if err := os.RemoveAll(file); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// remade waits until there are records again.
func (w *world) remade(when string, records []string) {
	w.t.Helper()
	var missing []string
	if !poll(func() bool {
		missing = slices.DeleteFunc(slices.Clone(records), func(name string) bool { return exists(filepath.Join(w.state, "sandboxes", name)) })
		return len(missing) == 0
	}) {
		w.t.Fatalf("%s, there are no records %v\n%s", when, missing, w.log())
	}
}

// known waits until the containers of sandboxes are known again, by the IDs that
// they had.
func (w *world) known(was map[string]sandbox) {
	w.t.Helper()
	for name, s := range was {
		w.wait(name, "known again", func(now sandbox) bool {
			return slices.EqualFunc(now.Status.Containers, s.Status.Containers, func(a, b container) bool { return a.ID == b.ID })
		})
	}
}

// Whoever removes the records of sandboxes, with all copies and the key that they are
// signed with, ends nothing and has nothing run twice: containers that run go on
// and are looked after as before, and of those that have ended it is known how.
func TestRecordsLost(t *testing.T) {
	w := start(t)
	w.touch("made", "filled")
	counting := func(name, then string) string {
		return box(name, "count /v/"+name+" then "+then, inVolume)
	}
	const volume = "volumes: [{name: v, hostPath: {path: DIR/v}}]"
	w.declare("web", sharing())
	w.declare("begun", afterInit("print begun then sleep"))
	w.declare("once", strings.Join([]string{volume, "restartPolicy: Never", "initContainers:", "- " + counting("before", "print init"),
		"containers:", "- " + counting("runs", "print runs then sleep"), "- " + counting("done", "print done"), "- " + counting("failed", "exit 3")}, "\n"))
	w.declare("some", strings.Join([]string{volume, "restartPolicy: OnFailure",
		"containers:", "- " + counting("some", "sleep"), "- " + counting("well", "print well")}, "\n"))
	cold := strings.Join([]string{volume, "containers:", "- " + counting("cold", "sleep")}, "\n")
	w.declare("cold", cold)
	once := func(s sandbox) bool {
		return s.box("runs").Ready && s.box("done").exited(0) && s.box("failed").exited(3)
	}
	w.counted("before it is paused", []string{"cold"}, "1")
	w.declare("cold", "state: Paused\n"+cold)
	was := map[string]sandbox{
		"web": w.running("web"), "begun": w.running("begun"),
		"once": w.wait("once", "half ended", once),
		"some": w.wait("some", "half ended", func(s sandbox) bool { return s.box("some").Ready && s.box("well").exited(0) }),
		"cold": w.wait("cold", "paused", phase("Paused")),
	}
	w.listening("web")
	counted := []string{"make", "fill", "app", "before", "runs", "done", "failed", "some", "well", "cold"}
	ones := strings.TrimSpace(strings.Repeat("1 ", len(counted)))
	w.counted("at first", counted, ones)

	each := func(sandbox, file string) bool { return true }
	for _, c := range []struct {
		what   string
		wanted func(sandbox, file string) bool
		more   []string // of the data directory
		dead   bool     // there is nothing of it to lose while the daemon lives
	}{
		{"a container's", func(_, file string) bool {
			return slices.Contains([]string{"one", "app", "runs", "some", "cold"}, strings.TrimSuffix(filepath.Base(file), ".json"))
		}, nil, false},
		{"those of what has ended", func(_, file string) bool {
			return slices.Contains([]string{"first", "fill", "before", "done", "failed", "well"}, strings.TrimSuffix(filepath.Base(file), ".json"))
		}, nil, false},
		{"the volumes'", func(_, file string) bool { return strings.Contains(file, "_volumes") }, nil, false},
		{"the sandboxes'", func(_, file string) bool { return file == "sandbox.json" }, nil, false},
		{"all", each, []string{"records"}, false},
		{"all and the key", each, []string{"records", "records.key"}, false},
		{"all, the key and what is remembered", each, []string{"records", "records.key", "memory"}, true},
		{"what runs, and what is remembered", func(_, file string) bool {
			return slices.Contains([]string{"one", "app", "runs", "some", "cold"}, strings.TrimSuffix(filepath.Base(file), ".json"))
		}, []string{"memory"}, true},
	} {
		for _, dead := range []bool{false, true} {
			if c.dead && !dead {
				continue
			}
			when := c.what + ", while a daemon runs"
			if dead {
				when = c.what + ", while none runs"
				w.kill()
			}
			records := w.recordsOf(c.wanted)
			w.lose(records)
			for _, name := range c.more {
				if err := os.RemoveAll(filepath.Join(w.data, name)); err != nil {
					t.Fatal(err)
				}
			}
			if dead {
				w.start()
			} else {
				for name := range was { // it is to look
					killAll(w.helpers(name, "keeper"))
				}
			}
			w.remade(when, records)
			w.known(was)
			w.unharmed(was)
			for name := range was {
				if s := w.wait(name, "told of", func(s sandbox) bool { return s.has("RecordDamaged") }); strings.Contains(w.log(), "panic") {
					t.Fatalf("%s, %s: %+v\n%s", when, name, s, w.log())
				}
			}
			w.wait("once", "as it was, "+when, once)
			w.counted(when, counted, ones)
			if t.Failed() {
				t.Fatalf("%s\n%s", when, w.log())
			}
		}
	}

	w.shared("web", "with records that were made anew")
	w.ok("restart", "--gofers", "--all")
	for name := range was {
		killAll(w.helpers(name, "gofer"))
	}
	w.replaced("web", "one", 1)
	w.replaced("once", "runs", 1)
	w.unharmed(was)
	w.shared("web", "with other gofers")
	w.ok("restart", "web/two")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("two").ID != was["web"].box("two").ID })
	w.shared("web", "by a sibling that was made anew")
	if got := w.ok("exec", "once/runs", "--", "/w", "read", "/v/runs"); !strings.Contains(got, "1") {
		t.Errorf("a command in it says %q", got)
	}
	w.ok("kill", "--signal", "KILL", "once/runs")
	w.wait("once", "ended", func(s sandbox) bool {
		return s.box("runs").exited(128+int(syscall.SIGKILL)) && s.Status.SandboxPID == 0
	})
	w.counted("in the end", counted, ones)
	for _, name := range slices.Sorted(maps.Keys(was)) {
		w.undeclare(name)
		w.gone(name)
	}
	var left []fs.DirEntry
	if !poll(func() bool {
		var err error
		left, err = os.ReadDir(filepath.Join(w.data, "records"))
		left = slices.DeleteFunc(left, func(e fs.DirEntry) bool { return e.Name() == ".floor" }) // of all that was removed
		return (err == nil || errors.Is(err, fs.ErrNotExist)) && len(left) == 0
	}) {
		t.Errorf("left: %v", left)
	}
}

// spoilNotes spoils what gofers' journals say of their containers.
func (w *world) spoilNotes(name string) {
	w.t.Helper()
	for _, pid := range w.helpers(name, "gofer") {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, fd := range fds {
			if is, err := os.Readlink(fd); err != nil || !strings.HasPrefix(is, "/memfd:gofer journal") {
				continue
			}
			f, err := os.OpenFile(fd, os.O_RDWR, 0)
			if err != nil {
				w.t.Fatal(err)
			}
			defer f.Close()
			b, err := io.ReadAll(f)
			if err != nil {
				w.t.Fatal(err)
			}
			if at := bytes.LastIndex(b, []byte(`"signature"`)); at >= 0 {
				if _, err := f.WriteAt([]byte("spoiled"), int64(at)); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
}

// Where nothing at all is left of what a daemon wrote of containers, they are taken to be as they
// are declared, and go on: with other gofers too, which know no more than the
// sandbox shows.
func TestRecordsLostWithNotes(t *testing.T) {
	w := start(t)
	w.declare("web", sharing("restartPolicy: Never"))
	w.declare("once", "restartPolicy: Never\nvolumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]\ncontainers:\n- "+
		box("app", "count /v/once then sleep", inVolume, "env: [{name: A, value: b}]"))
	was := map[string]sandbox{"web": w.running("web"), "once": w.running("once")}
	w.listening("web")
	w.counted("at first", []string{"once"}, "1")
	all := func(_, file string) bool { return file != "sandbox.json" }
	for _, more := range []string{"", "memory"} {
		w.kill()
		for name := range was {
			w.spoilNotes(name)
		}
		if err := os.RemoveAll(filepath.Join(w.data, cmp.Or(more, "none"))); err != nil {
			t.Fatal(err)
		}
		records := w.recordsOf(all)
		w.lose(records)
		w.start()
		w.remade("nothing is left", records)
		w.known(was)
		w.unharmed(was)
		w.ok("restart", "--gofers", "--all")
		killAll(w.helpers("web", "gofer"))
		w.replaced("web", "one", 1)
		w.unharmed(was)
		w.shared("web", "with other gofers")
		w.keptBy("web", 4) // what serves volumes, too: the daemon is killed next
		w.keptBy("once", 2)
	}
	if got := w.ok("exec", "once/app", "--", "/w", "env"); !strings.Contains(got, "env A=b\n") {
		t.Errorf("a command in it says %q", got)
	}
	w.ok("kill", "--signal", "KILL", "once/app")
	w.wait("once", "ended", func(s sandbox) bool { return s.box("app").exited(128+int(syscall.SIGKILL)) && s.Status.SandboxPID == 0 })
	w.counted("in the end", []string{"once"}, "1")
}
