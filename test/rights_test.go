package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// confined is a bundle whose process has a value of its own for all that a
// process can be given, and a user that is not root and has a capability.
func (w *world) confined(name string, args ...string) string {
	return w.bundle(name, func(c map[string]any) {
		kill := []string{"CAP_KILL"}
		c["process"] = map[string]any{
			"args": append([]string{"/w"}, args...), "cwd": "/proc",
			"user":            map[string]any{"uid": 7, "gid": 8, "additionalGids": []int{9, 10}, "umask": 0o27},
			"noNewPrivileges": true,
			"rlimits":         []any{map[string]any{"type": "RLIMIT_CORE", "soft": 12, "hard": 34}},
			"capabilities": map[string]any{"bounding": append(kill, "CAP_CHOWN"), "permitted": kill, "effective": kill,
				"inheritable": kill, "ambient": kill},
		}
		c["linux"] = map[string]any{"seccomp": map[string]any{"defaultAction": "SCMP_ACT_ALLOW",
			"syscalls": []any{map[string]any{"names": []string{"mkdirat", "mkdir"}, "action": "SCMP_ACT_ERRNO"}}}}
	})
}

const confinedRights = "rights umask=0027 core=12/34 Uid=7,7,7,7 Gid=8,8,8,8 Groups=9,10 CapInh=0000000000000020" +
	" CapPrm=0000000000000020 CapEff=0000000000000020 CapBnd=0000000000000021 CapAmb=0000000000000020 NoNewPrivs=1 Seccomp=2"

// What else is run in a container may do what its own command may, and nothing
// more: commands of exec, probes and preStop; also under another daemon, in an
// instance that was made anew, and after a restore.
func TestFurtherProcesses(t *testing.T) {
	w := start(t)
	out := filepath.Join(w.dir, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	bundle := w.confined("b", "rights", "then", "sleep")
	declare := func(state string) {
		w.declare("web", state+"\nterminationGracePeriodSeconds: 3600\nvolumes: [{name: out, hostPath: {path: DIR/out}}]\ncontainers:\n- {name: app, bundle: "+
			bundle+`, volumeMounts: [{name: out, mountPath: /out}],
  startupProbe: {exec: {command: [/w, rights, /out/started]}, periodSeconds: 1, timeoutSeconds: 60},
  livenessProbe: {exec: {command: [/w, rights, /out/alive]}, periodSeconds: 1, timeoutSeconds: 60},
  readinessProbe: {exec: {command: [/w, rights, /out/probe]}, periodSeconds: 1, timeoutSeconds: 60},
  lifecycle: {preStop: {exec: {command: [/w, rights, /out/stop]}}}}`)
	}
	further := func(when string) {
		t.Helper()
		if got := w.ok("exec", "web", "--", "/w", "rights"); got != confinedRights+"\n" {
			t.Errorf("%s exec has\n%swant\n%s", when, got, confinedRights)
		}
		s, _ := w.atTerminal(24, 80, "exec", "-it", "web", "--", "/w", "rights")
		s.expect(confinedRights)
		s.ends(0)
		if got := w.ok("exec", "web", "--user", "3:4", "--", "/w", "rights"); !strings.Contains(got, "umask=0027 core=12/34 Uid=3,3,3,3 Gid=4,4,4,4") ||
			!strings.Contains(got, "NoNewPrivs=1 Seccomp=2") {
			t.Errorf("%s exec as another user has\n%s", when, got)
		}
		if r := w.run("exec", "web", "--", "/w", "mkdir", "/out/made"); r.code != 1 || !strings.Contains(r.err, "not permitted") {
			t.Errorf("%s the filter lets mkdir through: %+v", when, r)
		}
	}
	written := func(file string) {
		t.Helper()
		var got []byte
		var err error
		is := func() bool { // it may be being written anew
			got, err = os.ReadFile(filepath.Join(out, file))
			return err == nil && string(got) == confinedRights+"\n"
		}
		if !poll(is) {
			t.Errorf("%s: %v, what it had is\n%swant\n%s", file, err, got, confinedRights)
		}
	}
	declare("state: Running")
	was := w.running("web")
	w.said("web", confinedRights)
	further("at first")
	w.ready("web", "app", true)
	written("started")
	written("probe")
	written("alive")
	w.restart()
	w.running("web")
	further("under another daemon")
	w.ok("restart", "web/app")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("app").ID != was.box("app").ID })
	written("stop")
	further("made anew")
	declare("state: Suspended")
	w.suspended("web")
	declare("state: Running")
	w.running("web")
	further("restored")
}

// A program of root's with the bit for it is run as root, and one with
// capabilities in its file gets them, unless the container says otherwise.
func TestSetUserID(t *testing.T) {
	w := newWorld(t)
	root := ownRoot(t, w)
	copied := func(name string, change func(path string) error) {
		path := filepath.Join(root, name)
		if err := exec.Command("cp", filepath.Join(rootfs, "w"), path).Run(); err != nil {
			t.Fatal(err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
	}
	copied("user", func(path string) error { return os.Chmod(path, 0o755|os.ModeSetuid) })
	copied("group", func(path string) error { return os.Chmod(path, 0o755|os.ModeSetgid) })
	copied("caps", func(path string) error {
		// Version 2, effective: CAP_KILL is permitted, nothing is inherited.
		return unix.Setxattr(path, "security.capability", []byte{1, 0, 0, 2, 1 << 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
	})
	w.start()
	for name, more := range map[string]string{"may": "", "may-not": ", noNewPrivileges: true"} {
		var boxes []string
		for _, program := range []string{"user", "group", "caps"} {
			boxes = append(boxes, "- {name: "+program+", rootfs: {path: "+root+"}, command: [/"+program+", rights], "+
				"securityContext: {runAsUser: 7, runAsGroup: 8"+more+"}}")
		}
		// In a volume it is no other program.
		boxes = append(boxes, "- {name: volume, rootfs: {path: "+rootfs+"}, command: [/v/user, rights], "+
			"volumeMounts: [{name: v, mountPath: /v}], securityContext: {runAsUser: 7, runAsGroup: 8"+more+"}}")
		w.declare(name, "restartPolicy: Never\nvolumes: [{name: v, hostPath: {path: "+root+"}}]\ncontainers:\n"+strings.Join(boxes, "\n"))
	}
	for who, want := range map[string]string{
		"may/user": "Uid=7,0,0,0 Gid=8,8,8,8", "may/group": "Uid=7,7,7,7 Gid=8,0,0,0", "may/caps": "CapEff=0000000000000020",
		"may/volume": "Uid=7,0,0,0 Gid=8,8,8,8", "may-not/volume": "Uid=7,7,7,7 Gid=8,8,8,8",
		"may-not/user": "Uid=7,7,7,7 Gid=8,8,8,8", "may-not/group": "Uid=7,7,7,7 Gid=8,8,8,8", "may-not/caps": "CapEff=0000000000000000",
	} {
		name, _, _ := strings.Cut(who, "/")
		w.wait(name, "over", phase("Succeeded"))
		if got := w.ok("logs", who); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %s", who, got, want)
		}
	}
}
