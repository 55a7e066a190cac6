package test

import (
	"encoding/json"
	"fmt"
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

// All that would be refused is told beforehand, all at once, each with its line.
func TestValidateLooksAround(t *testing.T) {
	w := newWorld(t)
	root := ownRoot(t, w)
	for name, to := range map[string]string{"dangling": "/not/there", "other": "etc", "linked": "other/program"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.folders("image")
	if err := os.Mkdir(filepath.Join(w.dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	bad := w.bundle("b", func(c map[string]any) {
		c["domainname"] = "x"
		c["mounts"] = []any{map[string]any{"destination": "/x", "type": "bind", "source": "/etc/none", "options": []string{"rbind", "idmap"}}}
		c["process"].(map[string]any)["env"] = []string{"NAME"}
		c["root"].(map[string]any)["path"] = "elsewhere"
	})
	manifest := filepath.Join(w.dir, "web.yaml")
	text := w.document("web", `restoreFrom: DIR/image
volumes:
- {name: v, hostPath: {path: DIR/gone}}
- {name: e, emptyDir: {}}
- {name: f, hostPath: {path: DIR/root/etc/conf}}
containers:
- {name: one, bundle: `+bad+`}
- name: two
  rootfs: {path: DIR/none}
  command: [/w]
  env: [{name: A, valueFrom: {file: DIR/secret}}]
  pidFile: DIR/nowhere/pid
  hooks:
    prestart: [{path: DIR/hook}]
    poststop: [{path: DIR/root/etc/conf}]
- name: three
  rootfs: {path: DIR/root, readOnly: true}
  command: [/bin/program]
  volumeMounts:
  - {name: e, mountPath: /dangling/x}
  - {name: e, mountPath: /etc/conf}
  - {name: f, mountPath: /etc}
  - {name: f, mountPath: /etc/none}
  - {name: f, mountPath: /mnt/x}
- name: four
  rootfs: {path: DIR/root}
  command: [/linked]
  volumeMounts: [{name: e, mountPath: /etc}, {name: f, mountPath: /etc/below}]
- {name: five, rootfs: {path: DIR/root}, command: [/other/program], volumeMounts: [{name: e, mountPath: /etc}]}
- {name: six, bundle: `+w.bundle("c", func(map[string]any) {})+`, command: [/gone]}
- {name: seven, rootfs: {path: DIR/root}, command: [/etc/conf]}
- {name: eight, rootfs: {path: DIR/root}, command: [gone], workingDir: /etc/conf}
- {name: nine, rootfs: {path: DIR/root}, command: [w], env: [{name: PATH, value: '/none:/'}], workingDir: /new}
- {name: ten, rootfs: {path: DIR/root}, command: [gone], volumeMounts: [{name: e, mountPath: /usr/bin}]}
- {name: eleven, bundle: `+w.bundle("d", func(c map[string]any) {
		c["process"].(map[string]any)["args"] = []string{"gone"}
		c["process"].(map[string]any)["env"] = []string{"PATH=/etc"}
		c["process"].(map[string]any)["cwd"] = "/w"
	})+`}
- {name: twelve, rootfs: {path: DIR/root, readOnly: true}, command: [/w], workingDir: /new}
- {name: thirteen, rootfs: {path: DIR/root, readOnly: true}, command: [/w], workingDir: /data/new, volumeMounts: [{name: e, mountPath: /data}]}
- {name: fourteen, rootfs: {path: DIR/root/etc/conf}, command: [/w]}
- {name: fifteen, rootfs: {path: DIR/root/etc/conf/x}, command: [/w]}
- {name: sixteen, rootfs: {path: DIR/root/dangling}, command: [/w]}
- {name: seventeen, rootfs: {path: DIR/empty}, command: [/w], terminal: true, consoleSocket: DIR/nowhere/socket}
- {name: eighteen, rootfs: {path: DIR/root}, command: [DIR/root/gone], terminal: true, consoleSocket: DIR/root/etc/conf}`)
	if err := os.WriteFile(manifest, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := w.run("validate", manifest)
	first := strings.Count(text[:strings.Index(text, "restoreFrom")], "\n") + 1
	faults := []struct {
		line int
		want string
	}{
		{0, "spec.restoreFrom: there is no checkpoint at "},
		{2, "spec.volumes[0].hostPath.path: stat "},
		{6, "spec.containers[0].bundle: " + bad + "/config.json: domainname is not supported"},
		{6, "spec.containers[0].bundle: " + bad + "/config.json: mounts[0] (/x): stat /etc/none"},
		{6, "spec.containers[0].bundle: " + bad + `/config.json: mounts[0] (/x): the option "idmap"`},
		{6, "spec.containers[0].bundle: " + bad + `/config.json: process.env[0] "NAME" has no "="`},
		{6, "spec.containers[0].bundle: " + bad + "/config.json: root.path: there is no directory " + bad + "/elsewhere: make it"},
		{8, "spec.containers[1].rootfs.path: there is no directory " + w.dir + "/none: make it, with the container's files in it"},
		{10, "spec.containers[1].env[0].valueFrom.file: stat "},
		{11, "spec.containers[1].pidFile: stat "},
		{13, "spec.containers[1].hooks.prestart[0].path: stat "},
		{14, "spec.containers[1].hooks.poststop[0].path: " + root + "/etc/conf is not executable"},
		{17, "spec.containers[2].command[0]: /bin/program is not in the root " + root},
		{19, "spec.containers[2].volumeMounts[0].mountPath: there is no place for the mount at /dangling/x: in the root " + root + ", /dangling is a link"},
		{21, "spec.containers[2].volumeMounts[2].mountPath: there is no place for the mount at /etc: in the root " + root + ", /etc is a directory"},
		{23, "spec.containers[2].volumeMounts[4].mountPath: there is no place for the mount at /mnt/x: in the root " + root + ", which is read-only"},
		{29, "spec.containers[5].command[0]: /gone is not in the root "},
		{30, "spec.containers[6].command[0]: /etc/conf is no program"},
		{31, "spec.containers[7].command[0]: \"gone\" is in no folder of the PATH /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin in the root " + root},
		{31, "spec.containers[7].workingDir: /etc/conf is no directory in the root " + root},
		{34, "spec.containers[10].bundle: \"gone\" is in no folder of the PATH /etc in the root "},
		{34, "spec.containers[10].bundle: /w is no directory in the root "},
		{35, "spec.containers[11].workingDir: /new is not in the root " + root + ", which is read-only"},
		{37, "spec.containers[13].rootfs.path: " + root + "/etc/conf is not a directory: name the one that the container's files are in"},
		{38, "spec.containers[14].rootfs.path: there is no directory " + root + "/etc/conf/x: something on the way to it is a file"},
		{39, "spec.containers[15].rootfs.path: " + root + "/dangling is a link that leads to nothing, to /not/there: make that"},
		{40, "spec.containers[16].command[0]: /w is not in the root " + w.dir + "/empty, which is empty: put the container's files there"},
		{40, "spec.containers[16].consoleSocket: there is no socket " + w.dir + "/nowhere/socket: who is to have the terminal has to listen there"},
		{41, "spec.containers[17].command[0]: " + root + "/gone is not in the root " + root + ": write the path as the container sees it, /gone"},
		{41, "spec.containers[17].consoleSocket: " + root + "/etc/conf is no socket"},
	}
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if r.code != 1 || len(lines) != len(faults) {
		t.Fatalf("validate ended with %d, and %d faults of %d:\n%s%s", r.code, len(lines), len(faults), r.out, r.err)
	}
	for i, f := range faults {
		if want := fmt.Sprintf("%s:%d: %s", manifest, first+f.line, f.want); !strings.HasPrefix(lines[i], want) {
			t.Errorf("validate does not say %q but %q", want, lines[i])
		}
	}
	if r := w.run("validate", "--no-host", manifest); r.code != 0 {
		t.Errorf("without the host: %+v", r)
	}
}
