package test

import (
	"fmt"
	"strings"
	"testing"
)

// waitsFor says that a sandbox waits, for that reason and with that message.
func waitsFor(reason, message string) check {
	return func(s sandbox) bool {
		c, _ := s.condition(reason)
		return s.Status.Phase == "Pending" && s.Status.Reason == reason && s.Status.Message == message && c.Message == message &&
			s.Status.SandboxPID == 0 && !s.Status.Ready
	}
}

// dbFirst are a sandbox that is ready once its init container was told so.
const dbFirst = `
volumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]
initContainers:
- {name: load, rootfs: {path: ROOT}, command: [/w, await, /v/loaded], volumeMounts: [{name: v, mountPath: /v}]}
containers:
- {name: app, rootfs: {path: ROOT}, command: [/w, sleep]}`

// A sandbox is started once those that it depends on are ready, at once then,
// and whenever it is started; one that runs is left alone, and nothing keeps
// it from being paused and ended.
func TestDependsOn(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep", "dependsOn: [db]"))
	w.wait("web", "waiting", waitsFor("DependencyMissing", `waiting for "db": no such sandbox`))
	w.declare("db", dbFirst)
	w.wait("web", "waiting", waitsFor("DependencyNotReady", `waiting for "db" to be ready: it is Pending`))
	for _, args := range [][]string{{"plan"}, {"plan", w.manifests}} {
		if out := w.ok(args...); !strings.Contains(out, `Note: web: waiting for "db" to be ready`) || strings.Contains(out, "all is as declared") {
			t.Errorf("%v says of one that waits: %s", args, out)
		}
	}
	if dirs := cgroupDirs(w.parent + "/web"); len(dirs) > 0 {
		t.Errorf("it waits, and there is %v", dirs)
	}
	w.touch("loaded")
	web, db := w.running("web"), w.running("db")
	if web.box("app").StartedAt.Before(*db.box("app").StartedAt) || len(web.Status.Conditions) > 0 {
		t.Errorf("db %+v\nweb %+v", db, web)
	}

	// What runs goes on, and so do its containers' restarts.
	w.declare("db", "state: Stopped"+dbFirst)
	w.wait("db", "stopped", phase("Stopped"))
	w.ok("kill", "web", "-s", "KILL")
	now := w.wait("web", "running again", func(s sandbox) bool { return running(s) && s.box("app").RestartCount == 1 })
	if now.Status.SandboxPID != web.Status.SandboxPID {
		t.Errorf("it was made anew: %+v", now)
	}
	w.declare("web", app("sleep", "dependsOn: [db, cache]"))
	w.wait("web", "changed in place", func(s sandbox) bool {
		return s.Status.SpecHash != now.Status.SpecHash && running(s) && s.box("app").ID == now.box("app").ID
	})
	w.restart()
	if s := w.running("web"); s.box("app").ID != now.box("app").ID {
		t.Errorf("a restart of the daemon made %+v of it", s)
	}
	w.declare("web", app("sleep", "dependsOn: [db]", "state: Paused"))
	w.wait("web", "paused", phase("Paused"))
	w.declare("web", app("sleep", "dependsOn: [db]", "state: Stopped"))
	w.wait("web", "stopped", phase("Stopped"))
	w.declare("web", app("sleep", "dependsOn: [db]", "state: Created"))
	w.wait("web", "created", phase("Created"))

	// It waits again whenever it is started.
	w.declare("web", app("sleep", "dependsOn: [db]"))
	w.wait("web", "waiting", func(s sandbox) bool {
		return s.has("DependencyNotReady") && s.Status.Phase == "Pending" && s.box("app").State != "running"
	})
	w.declare("db", dbFirst)
	web = w.running("web")
	w.declare("db", "state: Paused"+dbFirst)
	w.wait("db", "paused", phase("Paused"))
	mustKill(t, web.Status.SandboxPID)
	w.wait("web", "waiting", waitsFor("DependencyNotReady", `waiting for "db" to be ready: it is Paused`))
	w.undeclare("db")
	w.wait("web", "waiting", waitsFor("DependencyMissing", `waiting for "db": no such sandbox`))
	w.declare("db", dbFirst)
	w.running("web")
	w.declare("web", app("sleep", "dependsOn: [db]", "state: Suspended"))
	w.suspended("web")
	w.undeclare("db")
	w.gone("db")
	w.declare("web", app("sleep", "dependsOn: [db]"))
	w.wait("web", "waiting to be restored", waitsFor("DependencyMissing", `waiting for "db": no such sandbox`))
	w.declare("web", app("sleep"))
	w.running("web")
}

// After a reboot what others depend on is started first again.
func TestOrderAfterReboot(t *testing.T) {
	w := newWorld(t)
	names := []string{"third", "second", "first", "base"} // each after the one that follows
	for i, name := range names {
		after := ""
		if i+1 < len(names) {
			after = "dependsOn: [" + names[i+1] + "]"
		}
		w.declare(name, after+"\ninitContainers:\n- "+box("i", "exit 0")+"\n"+app("sleep"))
	}
	w.start()
	for _, when := range []string{"first", "after a reboot"} {
		if when != "first" {
			w.reboot()
		}
		before := w.running(names[0])
		for _, name := range names[1:] {
			s := w.running(name)
			if before.box("i").StartedAt.Before(*s.box("app").StartedAt) {
				t.Errorf("%s, %s was started at %s and %s at %s", when, before.Name, before.box("i").StartedAt, name, s.box("app").StartedAt)
			}
			before = s
		}
	}
}

// Documents by which sandboxes would wait for each other are rejected with the
// way around, wherever they stand; what runs goes on, as it was.
func TestDependencyCycle(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep", "dependsOn: [db]"))
	w.declare("db", app("sleep"))
	web, db := w.running("web"), w.running("db")
	w.stored("web", "sleep")
	w.stored("db", "sleep")
	w.declare("db", app("sleep 99", "dependsOn: [web]"))
	w.declare("new", app("sleep", "dependsOn: [new]"))
	for name, path := range map[string]string{"web": "web -> db -> web", "db": "db -> web -> db", "new": "new -> new"} {
		want := fmt.Sprintf("%s.yaml:5: spec.dependsOn[0]: it would wait for itself: %s; ", name, path)
		s := w.wait(name, "rejected", func(s sandbox) bool { return s.has("ManifestRejected") })
		if c, _ := s.condition("ManifestRejected"); !strings.HasPrefix(c.Message, want) {
			t.Errorf("%s: %s", name, c.Message)
		}
		if r := w.run("validate", w.manifests); r.code != 1 || !strings.Contains(r.out, want) {
			t.Errorf("validate says %+v", r)
		}
	}
	w.restart()
	for _, was := range []sandbox{web, db} {
		if s := w.running(was.Name); s.box("app").ID != was.box("app").ID || s.Status.SpecHash != was.Status.SpecHash {
			t.Errorf("%s became %+v", was.Name, s)
		}
	}
	w.declare("web", app("sleep"))
	w.wait("db", "as its document says", func(s sandbox) bool { return running(s) && !s.has("ManifestRejected") && s.box("app").ID == "db.app.2" })
	w.undeclare("new")
	w.gone("new")
}
