package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandboxer/observed"
)

// records are the records of a sandbox that are within the state directory's reach,
// copies included.
func (w *world) records(name string) (files []string) {
	w.t.Helper()
	dir := filepath.Join(w.state, "sandboxes", name)
	for _, pattern := range []string{"*.json", ".*.copy", "containers/*.json", "containers/.*.copy"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			w.t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// forge rewrites a record, with a checksum that is right.
func forge(t *testing.T, file string, change func(map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		t.Fatal(err)
	}
	delete(object, "checksum")
	change(object)
	data, err = json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.TrimSuffix(data, []byte("}"))
	sum := sha256.Sum256(body)
	data = append(body, `,"checksum":"`+hex.EncodeToString(sum[:16])+`"}`...)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Who can write records commands nobody by that: others' processes do not end, no
// hook runs, nothing is made anew, and what was declared goes on; that is told. So
// it is where what was written there was true earlier.
func TestForgedRecords(t *testing.T) {
	w := start(t)
	evil := w.hookScript("evil", "")
	w.declare("web", "containers:\n- "+box("app", "sleep", "hooks: {poststop: ["+hook(w.hookScript("good", ""), "web")+"]}"))
	w.declare("twin", "containers:\n- "+box("app", "sleep"))
	w.declare("other", app("sleep"))
	was := map[string]sandbox{"web": w.running("web"), "twin": w.running("twin"), "other": w.running("other")}
	theirs, err := observed.Identify(was["other"].Status.SandboxPID)
	if err != nil {
		t.Fatal(err)
	}
	earlier := map[string][]byte{}
	for _, file := range w.records("twin") {
		if earlier[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	// What the last records say is another instance.
	w.ok("restart", "twin")
	was["twin"] = w.wait("twin", "restarted", and(running, func(s sandbox) bool {
		return s.Status.Containers[0].ID != was["twin"].Status.Containers[0].ID
	}))
	w.kill()
	for _, file := range w.records("web") {
		forge(t, file, func(record map[string]any) {
			process := map[string]any{"pid": theirs.PID, "startTime": theirs.StartTime}
			if !strings.Contains(file, "containers") {
				record["state"], record["sentry"], record["sandboxHash"] = "stopping", process, "another"
				return
			}
			record["gofer"], record["keeper"], record["hash"] = process, process, "another"
			record["hookPhase"], record["hooks"] = "owed", map[string]any{"poststop": []any{map[string]any{"path": evil, "timeout": 10}}}
		})
	}
	for file, data := range earlier {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	for _, name := range []string{"web", "twin"} {
		w.wait(name, "told of", func(s sandbox) bool { return s.has("RecordDamaged") })
	}
	w.unharmed(was)
	for name, told := range map[string]string{"web": "not signed with this daemon's key", "twin": "somebody has put back an earlier one"} {
		if !poll(func() bool { return strings.Contains(strings.Join(strings.Fields(w.ok("events", name)), " "), told) }) {
			t.Errorf("of what was written, events tell\n%s", w.ok("events", name))
		}
	}
	if calls := w.calls(); len(calls) > 0 {
		t.Errorf("hooks ran: %+v", calls)
	}
	// And while the daemon runs, which writes none of them any more.
	w.mended()
	for _, file := range w.records("web") {
		forge(t, file, func(record map[string]any) {
			if _, ok := record["sentry"]; ok {
				record["state"], record["sentry"] = "stopping", map[string]any{"pid": theirs.PID, "startTime": theirs.StartTime}
			}
		})
	}
	w.ok("restart", "web")
	w.wait("web", "restarted", and(running, func(s sandbox) bool { return s.Status.Containers[0].ID != was["web"].Status.Containers[0].ID }))
	w.undeclare("web")
	w.gone("web")
	w.unharmed(map[string]sandbox{"twin": was["twin"], "other": was["other"]})
	for _, c := range w.calls() {
		if c.point != "web" {
			t.Errorf("%+v ran", c)
		}
	}
}

// Neither the key's loss nor that of all that is known beside the records costs
// anything: the kernel is asked who runs. What had ended for good stays so.
func TestKeyLost(t *testing.T) {
	w := start(t)
	w.declare("web", "volumes: [{name: v, emptyDir: {}}]\ncontainers:\n- "+box("one", "sleep", "volumeMounts: [{name: v, mountPath: /v}]")+"\n- "+box("two", "sleep"))
	w.declare("cold", app("sleep", "state: Paused"))
	w.declare("once", app("print once", "restartPolicy: Never"))
	was := map[string]sandbox{
		"web": w.running("web"), "cold": w.wait("cold", "paused", phase("Paused")), "once": w.wait("once", "ended", ended),
	}
	key := filepath.Join(w.data, "records.key")
	for what, lose := range map[string]func() error{
		"the key":                func() error { return os.Remove(key) },
		"a bit of the key":       func() error { return flip(key) },
		"the spares":             func() error { return os.RemoveAll(filepath.Join(w.data, "records")) },
		"the key and the spares": func() error { return errors.Join(os.Remove(key), os.RemoveAll(filepath.Join(w.data, "records"))) },
	} {
		w.kill()
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.unharmed(was)
		if out := w.ok("logs", "once"); strings.Count(out, "once") != 1 {
			t.Errorf("%s: what had ended for good has said %q", what, out)
		}
		if s := w.running("web"); s.has("RecordDamaged") {
			t.Errorf("%s: %+v", what, s.Status.Conditions)
		}
	}
	if !poll(func() bool { return strings.Contains(w.ok("events"), "RecordsAdmitted") }) {
		t.Errorf("no event tells of it:\n%s", w.ok("events"))
	}
	w.ok("restart", "--gofer", "web") // what its gofers need is known, too
	w.unharmed(was)
}

func flip(file string) error {
	data, err := os.ReadFile(file)
	if err == nil {
		data[0] ^= 1
		err = os.WriteFile(file, data, 0o600)
	}
	return err
}
