package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bundle writes an OCI bundle whose root is a directory inside it.
func (w *world) bundle(name string, change func(config map[string]any)) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "fs"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Link(filepath.Join(rootfs, "w"), filepath.Join(dir, "fs", "w")); err != nil {
		w.t.Fatal(err)
	}
	config := map[string]any{
		"ociVersion": "1.0.2",
		"root":       map[string]any{"path": "fs"},
		"process": map[string]any{
			"args": []string{"/w", "env", "then", "pwd", "then", "id", "then", "print", "done", "then", "sleep"},
			"cwd":  "/proc", "env": []string{"FROM=bundle", "MODE=bundle"}, "user": map[string]any{"uid": 7, "gid": 8},
		},
		"mounts": []any{
			map[string]any{"destination": "/proc", "type": "proc", "source": "proc"},
			map[string]any{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
		},
	}
	change(config)
	b, err := json.Marshal(config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// A bundle is the base, and the manifest says what differs from it.
func TestBundle(t *testing.T) {
	w := start(t)
	dir := w.bundle("b", func(map[string]any) {})
	before := listing(t, dir)
	w.declare("web", "containers:\n- {name: app, bundle: "+dir+", env: [{name: MODE, value: manifest}]}")
	w.declare("own", "containers:\n- {name: app, bundle: "+dir+", command: [/w, print, own, then, sleep], securityContext: {runAsUser: 9}}")
	was := w.running("web")
	w.running("own")
	said := strings.Join(w.said("web", "done"), "\n")
	for _, want := range []string{"env FROM=bundle", "env MODE=manifest", "pwd /proc", "uid 7 gid 8"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q but\n%s", want, said)
		}
	}
	w.said("own", "own")
	// Made anew inside its sandbox it works as well.
	w.declare("web", "containers:\n- {name: app, bundle: "+dir+", env: [{name: MODE, value: again}]}")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("app").ID != was.box("app").ID })
	w.said("web", "env MODE=again")
	if after := listing(t, dir); after != before {
		t.Errorf("the bundle was written to:\n%s\nbecame\n%s", before, after)
	}
}

// What a bundle would do on the host is refused.
func TestBundleRefused(t *testing.T) {
	w := start(t)
	for name, change := range map[string]func(map[string]any){
		"hooks": func(c map[string]any) {
			c["hooks"] = map[string]any{"prestart": []any{map[string]any{"path": "/bin/true"}}}
		},
		"annotation": func(c map[string]any) { c["annotations"] = map[string]any{"dev.gvisor.internal.nvproxy": "true"} },
		"root":       func(c map[string]any) { delete(c, "root") },
	} {
		w.declare(name, "restartBackoff: {initial: 1h, max: 1h}\ncontainers:\n- {name: app, bundle: "+w.bundle("b-"+name, change)+"}")
		s := w.wait(name, "failed", phase("Failed"))
		if !strings.Contains(s.Status.Message, name) || !strings.Contains(s.Status.Message, "config.json") {
			t.Errorf("%s says %q", name, s.Status.Message)
		}
	}
}

// A filter of system calls in a bundle holds for the container's command and
// for what exec runs beside it.
func TestBundleFilter(t *testing.T) {
	w := start(t)
	dir := w.bundle("b", func(c map[string]any) {
		c["linux"] = map[string]any{"seccomp": map[string]any{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []any{
			map[string]any{"names": []string{"getgroups"}, "action": "SCMP_ACT_ERRNO"}}}}
	})
	w.declare("own", "restartPolicy: Never\ncontainers:\n- {name: app, bundle: "+dir+", command: [/w, id]}")
	w.declare("web", "containers:\n- {name: app, bundle: "+dir+", command: [/w, sleep]}\n- "+box("free", "sleep"))
	w.wait("own", "refused its groups", phase("Failed"))
	w.running("web")
	if r := w.run("logs", "own"); !strings.Contains(r.err, "operation not permitted") {
		t.Errorf("the command says %+v", r)
	}
	if r := w.run("exec", "web/app", "--", "/w", "id"); r.code != 1 || !strings.Contains(r.err, "operation not permitted") {
		t.Errorf("exec beside it: %+v", r)
	}
	if out := w.ok("exec", "web/free", "--", "/w", "id"); !strings.HasPrefix(out, "uid 0") {
		t.Errorf("exec in a container without a filter: %q", out)
	}
}

// All that would be refused is told beforehand, and all at once.
func TestValidateLooksAround(t *testing.T) {
	w := newWorld(t)
	bad := w.bundle("b", func(c map[string]any) {
		c["domainname"] = "x"
		c["mounts"] = []any{map[string]any{"destination": "/x", "type": "bind", "source": "/etc", "options": []string{"rbind", "idmap"}}}
		c["process"].(map[string]any)["env"] = []string{"NAME"}
	})
	manifest := filepath.Join(w.dir, "web.yaml")
	text := w.document("web", "restoreFrom: /no/image\nvolumes: [{name: v, hostPath: {path: DIR/gone}}]\ncontainers:\n"+
		"- {name: one, bundle: "+bad+"}\n- {name: two, rootfs: {path: DIR/none}, command: [/w], env: [{name: A, valueFrom: {file: DIR/secret}}],"+
		" hooks: {prestart: [{path: DIR/hook}]}}\n- {name: three, bundle: "+w.bundle("c", func(map[string]any) {})+"}")
	if err := os.WriteFile(manifest, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := w.run("validate", manifest)
	for _, want := range []string{
		"spec.restoreFrom: stat /no/image", "spec.volumes[0].hostPath.path: stat ", "spec.containers[0].bundle: ", "domainname is not supported",
		`mounts[0] (/x): the option "idmap"`, `process.env[0] "NAME" has no "="`, "spec.containers[1].rootfs.path: stat ",
		"spec.containers[1].env[0].valueFrom.file: stat ", "spec.containers[1].hooks.prestart[0].path: stat ", "8 faults found",
	} {
		if r.code != 1 || !strings.Contains(r.out+r.err, want) {
			t.Errorf("validate does not say %q but %+v", want, r)
		}
	}
	if r := w.run("validate", "--no-host", manifest); r.code != 0 {
		t.Errorf("without the host: %+v", r)
	}
}
