package test

import (
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A sandbox that does not answer is told of as that, and hides and holds up
// nobody else.
func TestOneSandboxHangs(t *testing.T) {
	w := start(t)
	for _, name := range []string{"hung", "web"} {
		w.declare(name, app("sleep"))
	}
	w.running("web")
	w.declare("host", app("sleep", "network: {mode: host}"))
	w.running("host")
	w.declare("cold", app("sleep", "state: Paused"))
	w.wait("cold", "paused", phase("Paused"))
	sentry := w.running("hung").Status.SandboxPID
	kill(t, sentry, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(sentry, syscall.SIGCONT) }() // while it is stopped, it is not made anew

	// The sandbox holds on to what it was given to write to, the command does not.
	lost := w.session("exec", "hung", "--", "/w", "print", "x")
	var all sync.WaitGroup
	for _, c := range []struct {
		args, out, err string
		code           int
	}{
		{"get nobody hung web", "\nweb ", `no sandbox "nobody"`, 1},
		{"ps hung", "", "the sentry does not answer", 1},
		{"stats", "\nweb/app ", "measuring hung: it did not answer within 5s", 1},
		{"stats -o json", `"sandbox": "host"`, "measuring hung: it did not answer within 5s", 1},
		{"stats hung nobody cold --interval 100ms", "cold/app ", `no sandbox "nobody"`, 1},
		{"exec web -- /w print x", "x", "", 0},
		{"ps web", "/w sleep", "", 0},
		{"plan", "Note: hung: the sandbox's sentry lives and does not answer", "", 0},
	} {
		all.Go(func() {
			r := w.in(t).run(strings.Fields(c.args)...)
			if r.code != c.code || !strings.Contains(r.out, c.out) || !strings.Contains(r.err, c.err) {
				t.Errorf("%s: %+v", c.args, r)
			}
		})
	}
	all.Wait()
	lost.ends(1)
	if said := lost.complaints(); !strings.Contains(said, "the sentry does not answer") {
		t.Errorf("exec says %q", said)
	}
	if r := w.run("restart", "nobody", "web"); r.code != 1 || r.out != "web restarted\n" || !strings.Contains(r.err, `no sandbox "nobody"`) {
		t.Errorf("restart: %+v", r)
	}
}
