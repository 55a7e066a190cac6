package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// damages are what happens to files. Each may leave the file as it is where it
// can't be done.
var damages = []struct {
	name string
	do   func(r *rand.Rand, path string, data []byte) error
}{
	{"a bit", func(r *rand.Rand, path string, data []byte) error {
		if len(data) > 0 {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
		return os.WriteFile(path, data, 0o600)
	}},
	{"some bytes", func(r *rand.Rand, path string, data []byte) error {
		for range min(len(data), 8) {
			data[r.IntN(len(data))] = byte(r.IntN(256))
		}
		return os.WriteFile(path, data, 0o600)
	}},
	{"a torn end", func(r *rand.Rand, path string, data []byte) error {
		return os.Truncate(path, int64(r.IntN(len(data)+1)))
	}},
	{"emptied", func(_ *rand.Rand, path string, _ []byte) error { return os.Truncate(path, 0) }},
	{"removed", func(_ *rand.Rand, path string, _ []byte) error { return os.Remove(path) }},
	{"replaced by a directory", func(_ *rand.Rand, path string, _ []byte) error {
		name := strings.TrimPrefix(filepath.Base(path), ".")
		for _, p := range []string{path, path + ".damaged", filepath.Join(filepath.Dir(path), "."+name+".new")} {
			if err := errors.Join(os.RemoveAll(p), os.MkdirAll(filepath.Join(p, "x", "y"), 0o700)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"zeroes", func(_ *rand.Rand, path string, data []byte) error {
		return os.WriteFile(path, make([]byte, len(data)), 0o600)
	}},
	{"a key less", func(r *rand.Rand, path string, data []byte) error {
		var object map[string]any
		if json.Unmarshal(data, &object) != nil || len(object) == 0 {
			return nil
		}
		keys := make([]string, 0, len(object))
		for key := range object {
			keys = append(keys, key)
		}
		delete(object, keys[r.IntN(len(keys))])
		data, err := json.Marshal(object)
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	}},
	{"swapped", func(r *rand.Rand, path string, _ []byte) error {
		siblings, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.json"))
		if err != nil || len(siblings) == 0 {
			return err
		}
		return unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, siblings[r.IntN(len(siblings))], unix.RENAME_EXCHANGE)
	}},
}

// ended says that nothing of a sandbox runs any more that has done its work.
func ended(s sandbox) bool { return s.Status.Phase == "Succeeded" && s.Status.SandboxPID == 0 }

// kept are the files of the daemon's in which it notes how things stand.
func (w *world) kept() (files []string) {
	w.t.Helper()
	for _, dir := range []string{filepath.Join(w.state, "sandboxes"), filepath.Join(w.data, "manifests"), filepath.Join(w.data, "memory"), filepath.Join(w.data, "records")} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.HasSuffix(e.Name(), ".json") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return append(files, filepath.Join(w.data, "events.jsonl"))
}

// Whatever happens to a file that the daemon keeps, nothing that is well ends,
// nothing that has ended for good runs again, and nobody panics. A file and its
// copy are not damaged at once here. SANDBOXER_DAMAGE is how many files are
// damaged, all in all.
func TestDamage(t *testing.T) {
	most := 1000
	if n, err := strconv.Atoi(os.Getenv("SANDBOXER_DAMAGE")); err == nil {
		most = n
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	w := start(t)
	probe := "livenessProbe: {exec: {command: [/w, exit, '0']}, periodSeconds: 100}"
	w.declare("web", "containers:\n- "+box("one", "sleep", probe)+"\n- "+box("two", "sleep"))
	w.declare("cold", app("sleep", "state: Paused"))
	w.declare("once", app("print once", "restartPolicy: Never"))
	w.declare("kept", app("sleep"))
	was := map[string]sandbox{
		"web": w.running("web"), "kept": w.running("kept"), "cold": w.wait("cold", "paused", phase("Paused")),
		"once": w.wait("once", "ended", ended),
	}
	// What is in force of it is only in the daemon's own files.
	w.stored("kept", "sleep")
	if err := os.WriteFile(filepath.Join(w.manifests, "kept.yaml"), []byte("metadata: {name: kept}\n: [\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.wait("kept", "rejected", func(s sandbox) bool { return s.has("ManifestRejected") })
	for done := 0; done < most && !t.Failed(); {
		w.kill()
		var story []string
		spoiled := map[string]bool{}
		for _, path := range w.kept() {
			if strings.Contains(path, "/infra/") || r.IntN(2) == 0 {
				continue
			}
			// Swapped files are damaged both.
			d := damages[r.IntN(len(damages))]
			if d.name == "swapped" && spoiled[filepath.Dir(path)] || spoiled[filepath.Dir(path)+" swapped"] {
				continue
			}
			spoiled[filepath.Dir(path)] = true
			spoiled[filepath.Dir(path)+" swapped"] = d.name == "swapped"
			target := path
			if copied := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".copy"); d.name != "swapped" && r.IntN(4) == 0 && exists(copied) {
				target = copied
			}
			data, err := os.ReadFile(target)
			if err != nil {
				continue // it was swapped away, or is not there any more
			}
			if err := d.do(r, target, data); err != nil {
				t.Fatal(err)
			}
			story = append(story, fmt.Sprintf("%s: %s", target, d.name))
			done++
		}
		w.start()
		w.unharmed(was)
		if out := w.ok("logs", "once"); strings.Count(out, "once") != 1 {
			t.Errorf("what had ended for good has said %q", out)
		}
		if strings.Contains(w.log(), "panic") {
			t.Errorf("a panic\n%s", w.log())
		}
		w.mended()
		if t.Failed() {
			t.Logf("seed %d; damaged: %s", seed, strings.Join(story, "\n"))
		}
	}
	declared := app("sleep")
	w.declare("kept", declared)
	w.running("kept")
}

// stored waits until a document with that text is in the store of accepted ones, which
// follows behind: a daemon that is killed before that leaves none, or an earlier one.
func (w *world) stored(name, text string) {
	w.t.Helper()
	var b []byte
	if !poll(func() bool {
		b, _ = os.ReadFile(filepath.Join(w.data, "manifests", name+".json"))
		return strings.Contains(string(b), text)
	}) {
		w.t.Fatalf("of %s %q is not stored, but %s", name, text, b)
	}
}

// mended waits until no record is to be mended any more: what is damaged next
// may be the copy that one has to be mended from.
func (w *world) mended() {
	w.t.Helper()
	for end := time.Now().Add(patience); strings.Contains(w.ok("plan", "-o", "json"), `"mend"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("records stay damaged\n%s", w.log())
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A sandbox of which neither the record, its copy nor its spare is left is taken over
// all the same, from what runs, frozen or not; its container's record says the rest.
// What is left to tell is told.
func TestRecordMadeAnew(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.declare("cold", app("sleep", "state: Paused"))
	w.declare("once", app("print once", "restartPolicy: Never"))
	was := map[string]sandbox{"web": w.running("web"), "cold": w.wait("cold", "paused", phase("Paused")), "once": w.wait("once", "ended", ended)}
	w.kill()
	for name := range was {
		if err := os.Remove(filepath.Join(w.data, "records", name, "sandbox.json")); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"sandbox.json", ".sandbox.json.copy"} {
			if err := os.WriteFile(filepath.Join(w.state, "sandboxes", name, file), []byte(`{"version":1,`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.start()
	for name, s := range was {
		now := w.wait(name, "as before", func(now sandbox) bool {
			return now.Status.Phase == s.Status.Phase && (name == "once" || now.has("RecordDamaged"))
		})
		if now.Status.SandboxPID != s.Status.SandboxPID || now.Status.Containers[0].ID != s.Status.Containers[0].ID || now.Status.Containers[0].RestartCount != 0 {
			t.Errorf("%s was made anew: %+v, was %+v", name, now, s)
		}
		if name != "once" && !strings.Contains(w.ok("events", name), "RecordsMended") {
			t.Errorf("%s: no event tells of it", name)
		}
	}
	if out := w.ok("logs", "once"); strings.Count(out, "once") != 1 {
		t.Errorf("what had ended for good has said %q", out)
	}
	w.declare("cold", app("sleep"))
	w.running("cold")
}

// A record that names another sandbox's cgroup, and its copy with it, has nobody
// there ended: what runs of its own is found, and ends with it.
func TestCgroupOfAnother(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.declare("other", app("sleep"))
	web, other := w.running("web"), w.running("other")
	w.kill()
	for _, file := range []string{"sandbox.json", ".sandbox.json.copy"} {
		path := filepath.Join(w.state, "sandboxes", "web", file)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		unsealed, _, _ := strings.Cut(string(data), `,"checksum"`)
		forged := strings.Replace(unsealed, web.Status.Cgroup+`"`, other.Status.Cgroup+`"`, 1) + "}"
		if err := os.WriteFile(path, []byte(forged), 0o600); err != nil || !strings.Contains(forged, other.Status.Cgroup) {
			t.Fatalf("%v: %s", err, forged)
		}
	}
	w.start()
	w.wait("web", "told of", func(s sandbox) bool { return s.has("RecordDamaged") && s.Status.Cgroup == web.Status.Cgroup })
	w.unharmed(map[string]sandbox{"web": web, "other": other})
	w.undeclare("web")
	w.gone("web")
	w.unharmed(map[string]sandbox{"other": other})
	if n := w.sentries("web"); n != 0 {
		t.Errorf("%d sentries of it are left", n)
	}
}

// A container of which neither a record, its copy nor its spare can be used, and that
// nobody remembers, is not run a second time under Never, ended or not; that is told of.
// What runs goes on.
func TestContainersRecordLost(t *testing.T) {
	w := start(t)
	w.declare("once", app("print once", "restartPolicy: Never"))
	w.declare("beside", "restartPolicy: Never\ncontainers:\n- "+box("app", "print once")+"\n- "+box("side", "sleep"))
	w.declare("always", app("sleep"))
	w.wait("once", "ended", ended)
	w.wait("beside", "half ended", func(s sandbox) bool { return s.box("app").exited(0) && s.box("side").State == "running" })
	was := w.running("always")
	w.kill()
	for _, name := range []string{"once", "beside", "always"} {
		dir := filepath.Join(w.state, "sandboxes", name, "containers")
		if err := os.Remove(filepath.Join(w.data, "records", name, "containers", "app.json")); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"app.json", ".app.json.copy"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(`{"version":1,`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{name + ".json", "." + name + ".json.copy"} {
			if err := os.Remove(filepath.Join(w.data, "memory", file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.start()
	for _, name := range []string{"once", "beside"} {
		s := w.wait(name, "told of", func(s sandbox) bool { return s.has("RecordDamaged") && s.box("app").State == "stopped" })
		if out := w.ok("logs", name+"/app"); strings.Count(out, "once") != 1 {
			t.Errorf("%s: what may have ended for good has said %q: %+v", name, out, s)
		}
	}
	if s := w.wait("beside", "as it was", phase("Running")); s.box("side").RestartCount != 0 || s.box("side").State != "running" {
		t.Errorf("its sibling: %+v", s.box("side"))
	}
	w.unharmed(map[string]sandbox{"always": was})
}
