package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// badManifests are one of every kind, each with what must be said of it. The
// first line of a spec is line 5.
func badManifests(w *world) map[string]struct{ text, want string } {
	spec := func(s string) string { return w.document("bad", s) }
	good := "- " + box("app", "sleep")
	return map[string]struct{ text, want string }{
		"not-yaml":      {"a: b: c", `:1: .*`},
		"no-mapping":    {"- a\n- b\n", `:1: .*`},
		"api-version":   {strings.Replace(spec("containers:\n"+good), "sandboxer/v1", "v1", 1), `:1: apiVersion: .*sandboxer/v1`},
		"kind":          {strings.Replace(spec("containers:\n"+good), "Sandbox\n", "Pod\n", 1), `:2: kind: .*Sandbox`},
		"name":          {strings.Replace(spec("containers:\n"+good), "name: bad", "name: Bad_", 1), `:3: metadata.name: .*`},
		"no-name":       {strings.Replace(spec("containers:\n"+good), "name: bad", "labels: {}", 1), `:3: metadata.name: required`},
		"unknown":       {spec("stat: Running\ncontainers:\n" + good), `:5: spec.stat: .*state`},
		"duplicate":     {spec("state: Running\nstate: Paused\ncontainers:\n" + good), `:6: spec.state: .*`},
		"type":          {spec("containers: none"), `:5: spec.containers: .*`},
		"deep-type":     {spec("containers:\n- {name: app, rootfs: {path: /}, command: sleep}"), `:6: spec.containers\[0\].command: .*`},
		"no-containers": {spec("state: Running"), `:\d+: spec.containers: required.*`},
		"not-yet":       {spec("containers:\n- " + box("app", "sleep", "stdinOnce: true")), `:6: spec.containers\[0\].stdinOnce: not supported yet`},
		"init-stays":    {spec("initContainers:\n- " + box("i", "exit 0", "restartPolicy: Always") + "\ncontainers:\n" + good), `:6: spec.initContainers\[0\].restartPolicy: .*not supported yet.*`},
		"image":         {spec("containers:\n- {name: app, image: x}"), `:6: spec.containers\[0\].image: not supported yet`},
		"restore-from":  {spec("restoreFrom: image\ncontainers:\n" + good), `:5: spec.restoreFrom: .*relative.*`},
		"runtime":       {spec("runtime: runc\ncontainers:\n" + good), `:5: spec.runtime: .*not supported yet.*`},
		"network":       {spec("network: {mode: bridge}\ncontainers:\n" + good), `:5: spec.network.mode: .*`},
		"two-sources":   {spec("containers:\n- {name: app, rootfs: {path: /}, bundle: /b, command: [/w]}"), `:6: spec.containers\[0\]: rootfs and bundle exclude each other.*`},
		"no-source":     {spec("containers:\n- {name: app, command: [/w]}"), `:6: spec.containers\[0\]: .*`},
		"relative":      {spec("containers:\n- {name: app, rootfs: {path: root}, command: [/w]}"), `:6: spec.containers\[0\].rootfs.path: .*relative.*`},
		"dot-dot":       {spec("containers:\n- {name: app, rootfs: {path: /a/../b}, command: [/w]}"), `:6: spec.containers\[0\].rootfs.path: .*`},
		"no-command":    {spec("containers:\n- {name: app, rootfs: {path: /}}"), `:6: spec.containers\[0\].command: required.*`},
		"twice":         {spec("containers:\n" + good + "\n" + good), `:7: spec.containers\[1\].name: .*twice`},
		"score":         {spec("containers:\n- " + box("app", "sleep", "oomScoreAdj: 1001")), `:6: spec.containers\[0\].oomScoreAdj: .*`},
		"memory":        {spec("containers:\n- " + box("app", "sleep", "resources: {limits: {memory: 1Ki}}")), `:6: spec.containers\[0\].resources.limits.memory: .*`},
		"quantity":      {spec("containers:\n- " + box("app", "sleep", "resources: {limits: {memory: lots}}")), `:6: spec.containers\[0\].resources.limits.memory: .*`},
		"pids":          {spec("containers:\n- " + box("app", "sleep", "resources: {limits: {pids: -1}}")), `:6: spec.containers\[0\].resources.limits.pids: .*`},
		"volume":        {spec("volumes:\n- {name: v}\ncontainers:\n" + good), `:6: spec.volumes\[0\]: .*`},
		"two-volumes":   {spec("volumes:\n- {name: v, emptyDir: {}, files: {a: b}}\ncontainers:\n" + good), `:6: spec.volumes\[0\]: .*exclude each other.*`},
		"no-volume":     {spec("containers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]")), `:6: spec.containers\[0\].volumeMounts\[0\].name: .*`},
		"mount-proc":    {spec("volumes:\n- {name: v, emptyDir: {}}\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /proc/x}]")), `:8: spec.containers\[0\].volumeMounts\[0\].mountPath: .*`},
		"capability":    {spec("containers:\n- " + box("app", "sleep", "securityContext: {capabilities: {add: [CAP_KILL]}}")), `:6: spec.containers\[0\].securityContext.capabilities.add\[0\]: .*`},
		"signal":        {spec("containers:\n- " + box("app", "sleep", "lifecycle: {stopSignal: SIGNOT}")), `:6: spec.containers\[0\].lifecycle.stopSignal: .*`},
		"backoff":       {spec("restartBackoff: {initial: 10s, max: 1s}\ncontainers:\n" + good), `:5: spec.restartBackoff.max: .*`},
		"grace":         {spec("terminationGracePeriodSeconds: -1\ncontainers:\n" + good), `:5: spec.terminationGracePeriodSeconds: .*`},
		"policy":        {spec("restartPolicy: Sometimes\ncontainers:\n" + good), `:5: spec.restartPolicy: .*`},
		"empty":         {"# nothing\n", `.*`},
	}
}

// Every kind of a bad manifest is refused with file, line and field, shows in
// get, fails validate, and harms nobody.
func TestBadManifests(t *testing.T) {
	w := newWorld(t)
	bad := badManifests(w)
	for name, m := range bad {
		w.put(name+".yaml", m.text)
	}
	w.declare("good", app("sleep"))
	w.start()
	good := w.running("good")

	r := w.run("validate", w.manifests)
	if r.code != 1 {
		t.Errorf("validate ended with %d", r.code)
	}
	said := r.out + r.err
	for name, m := range bad {
		want := regexp.MustCompile(`(?m)` + name + `\.yaml` + m.want)
		if m.want == ".*" {
			want = regexp.MustCompile(name + `\.yaml`)
		}
		if !want.MatchString(said) {
			t.Errorf("validate says nothing that matches %s", want)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
	// The daemon says of each file what validate says.
	refused := map[string]bool{}
	for _, s := range w.list() {
		for _, c := range s.Status.Conditions {
			for name := range bad {
				if c.Type == "ManifestRejected" && strings.Contains(c.Message, name+".yaml") {
					refused[name] = true
				}
			}
		}
	}
	// Documents of one name share an item, whose message shows the first few.
	for _, name := range []string{"not-yaml", "no-mapping", "name", "no-name", "empty"} {
		if !refused[name] {
			t.Errorf("get does not show %s.yaml", name)
		}
	}
	if s := w.wait("bad", "invalid", phase("Invalid")); s.Status.SandboxPID != 0 || len(s.Status.Containers) != 0 {
		t.Errorf("something of a rejected document was carried out: %+v", s)
	}
	if now := w.running("good"); now.Status.SandboxPID != good.Status.SandboxPID || len(now.Status.Conditions) != 0 {
		t.Errorf("a good manifest suffers: %+v", now)
	}
	if out := w.ok("get"); !strings.Contains(out, "Invalid") {
		t.Errorf("get shows\n%s", out)
	}
}

// Each fault alone: one file after the other takes the place of a good one.
func TestBadManifestOneByOne(t *testing.T) {
	w := start(t)
	w.declare("good", app("sleep"))
	good := w.running("good")
	for name, m := range badManifests(w) {
		w.put("bad.yaml", strings.ReplaceAll(m.text, "name: bad", "name: bad-"+name))
		var seen sandbox
		if !w.until(func() bool {
			for _, s := range w.list() {
				if s.Name == "bad-"+name || s.Name == "bad.yaml" || strings.HasPrefix(s.Name, "Bad") {
					seen = s
					return s.Status.Phase == "Invalid"
				}
			}
			return false
		}) {
			t.Fatalf("%s is not refused: %+v", name, seen)
		}
		if err := os.Remove(filepath.Join(w.manifests, "bad.yaml")); err != nil {
			t.Fatal(err)
		}
		if !w.until(func() bool { return len(w.list()) == 1 }) {
			t.Fatalf("%s is shown after it is gone", name)
		}
	}
	if now := w.running("good"); now.Status.SandboxPID != good.Status.SandboxPID {
		t.Errorf("a good manifest suffers: %+v", now)
	}
}

// Manifests are root's orders.
func TestUnsafeManifests(t *testing.T) {
	w := start(t)
	for i, unsafe := range []func(path string) error{
		func(path string) error { return os.Chmod(path, 0o666) },
		func(path string) error { return os.Chmod(path, 0o664) },
		func(path string) error { return os.Chown(path, 1234, 0) },
	} {
		hidden := filepath.Join(w.dir, "new")
		if err := os.WriteFile(hidden, []byte(w.document("web", app("sleep"))), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := unsafe(hidden); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(hidden, filepath.Join(w.manifests, fmt.Sprintf("web%d.yaml", i))); err != nil {
			t.Fatal(err)
		}
		if !w.until(func() bool {
			return strings.Contains(w.ok("get", "-o", "json"), fmt.Sprintf("web%d.yaml: refused", i)) ||
				strings.Contains(w.ok("get", "-o", "json"), fmt.Sprintf("web%d.yaml:1: refused", i))
		}) {
			t.Errorf("file %d is not refused: %s", i, w.ok("get", "-o", "json"))
		}
	}
	if s, ok := w.get("web"); ok && s.Status.SandboxPID != 0 {
		t.Errorf("it was obeyed: %+v", s)
	}
}
