package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/internal/pty"
)

// What others may have named commands no terminal, wherever it shows.
func TestNothingCommandsATerminal(t *testing.T) {
	var out strings.Builder
	c := &cli{stdout: &out, stderr: &out}
	s := api.Sandbox{Name: "n\nl\x1b[31m.yaml", Source: "m/n\nl\x1b[31m.yaml",
		Status: api.Status{Phase: api.Invalid, Message: "m/\x1b[31m\u202ex: refused"}}
	for _, output := range []string{"table", "wide"} {
		if err := c.sandboxPrinter(output, []api.Sandbox{s}, false).all([]api.Sandbox{s}, false); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(out.String(), "\n"); lines != 4 {
		t.Errorf("%d lines", lines)
	}
	ill := "\x1b]0;x\a\u202e"
	d := api.Description{Sandbox: s, Notes: []string{ill}, Pending: []api.Action{{Action: ill, Container: ill, Reason: ill}},
		Spec:   &desired.Spec{Hostname: ill, Containers: []desired.Container{{Name: "app", Args: []string{ill}}}},
		Events: []events.Event{{Sandbox: ill, Reason: ill, Message: ill}}}
	d.Status.Conditions = []api.Condition{{Type: ill, Reason: ill, Message: ill}}
	d.Status.Containers = []api.Container{{Name: ill, ID: ill, Message: ill, LastExit: &api.Exit{Reason: ill}}}
	if err := c.describe(d); err != nil {
		t.Fatal(err)
	}
	c.say("sandboxer: %v", errors.New(ill+"\n\t"+ill))
	_ = c.report([]error{errors.New(s.Name)})
	if strings.ContainsAny(out.String(), "\x1b\a\u202e") {
		t.Errorf("%q", out.String())
	}
}

// Whatever commands say on stderr goes through say.
func TestAllIsSaidPrintably(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(Fprint(f|ln)?|WriteString)\((\w+\.)*(stderr|os\.Stderr)\b|\bstderr\.Write`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") || f == "table.go" {
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			if direct.MatchString(line) {
				t.Errorf("%s:%d: %s", f, i+1, strings.TrimSpace(line))
			}
		}
	}
}

// When the daemon tries again shows as other times do: as local ones, and with the
// date where it is another day's.
func TestLocalTimes(t *testing.T) {
	now := time.Now()
	soon := time.Date(now.Year(), now.Month(), now.Day(), 12, 34, 56, 0, now.Location())
	later := soon.AddDate(0, 0, 1)
	for _, c := range []struct {
		at   time.Time
		want string
	}{{soon, "12:34:56"}, {later, later.Format(time.DateTime)}} {
		said := "it ended; next try at " + c.at.UTC().Format(time.RFC3339) + "; 2026-01-02T03:04:05Z"
		if got, want := localTimes(said), "it ended; next try at "+c.want+"; 2026-01-02T03:04:05Z"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A table fits its terminal.
func TestTableFitsItsTerminal(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	for _, width := range []uint16{60, 120} {
		if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}); err != nil {
			t.Fatal(err)
		}
		if got := columns(slave); got != int(width) {
			t.Errorf("%d columns, want %d", got, width)
		}
	}
	t.Setenv("COLUMNS", "")
	if got := columns(&strings.Builder{}); got != 0 {
		t.Errorf("%d columns of what is no terminal", got)
	}
}
