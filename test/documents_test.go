package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The console blocks of the documents do what they show. Each document is read
// from top to bottom, with a daemon of its own:
//
//   - A line that begins with "$ " is run by bash, and the lines below it are
//     what it prints. Numbers, times and the width of columns may differ; "..."
//     stands for anything. Where nothing is shown anything may be printed.
//   - A YAML block is the file that the sentence above it names in code type.
//   - A comment `<!-- not run: why -->` above a block leaves it out.
func TestDocuments(t *testing.T) {
	if resyncOnly {
		return // they say the same then
	}
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(documents, "../README.md") {
		steps := readDocument(t, path)
		if len(steps) == 0 {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			w := newWorld(t)
			if slices.ContainsFunc(steps, func(s step) bool { return strings.Contains(s.text, "rootfs: {path: /") }) {
				w.shows(hostRoot)
			}
			w.manifests = filepath.Join(w.dir, "etc", "sandboxer.d")
			for _, dir := range []string{w.manifests, w.dir + "/srv", w.dir + "/work/bin"} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, link := range []string{"sandboxer", "bin/sandboxer"} {
				if err := os.Symlink(sandboxer, filepath.Join(w.dir, "work", link)); err != nil {
					t.Fatal(err)
				}
			}
			w.start()
			if declare := beforeDocument[filepath.Base(path)]; declare != nil {
				declare(w)
			}
			for _, s := range steps {
				w.follows(s)
			}
		})
	}
}

// beforeDocument is what a document takes for granted.
var beforeDocument = map[string]func(*world){
	"gofers.md": func(w *world) {
		w.declare("web", app("sleep"))
		w.running("web")
	},
	"operations.md": func(w *world) {
		w.stop()
		w.flags = append(w.flags, "--deletion-guard", "0.5")
		for _, name := range []string{"crash", "first", "job", "web"} {
			w.declare(name, app("sleep", "terminationGracePeriodSeconds: 0"))
		}
		w.start()
		for _, name := range []string{"crash", "first", "job", "web"} {
			w.running(name)
		}
		gone := []string{"crash", "first", "job"}
		for _, name := range gone {
			w.undeclare(name)
		}
		for _, name := range gone {
			w.wait(name, "held", func(s sandbox) bool { return s.has("DeletionHeld") })
		}
	},
}

// step is a command with what it is said to print, or a file.
type step struct {
	where   string // the document and line
	command string
	shown   []string
	file    string // instead of a command
	text    string
}

var (
	leftOut   = regexp.MustCompile(`^<!-- not run: .{10,} -->$`)
	namesFile = regexp.MustCompile("`([\\w-]+\\.yaml)`")
)

// readDocument lists what there is to do in a document.
func readDocument(t *testing.T, path string) (steps []step) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	above := "" // the paragraph above
	for i := 0; i < len(lines); i++ {
		lang, fence := strings.CutPrefix(lines[i], "```")
		if !fence {
			if lines[i] != "" {
				if i > 0 && lines[i-1] == "" {
					above = ""
				}
				above += lines[i] + "\n"
			}
			continue
		}
		begin := i + 1
		for i++; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
		}
		where := fmt.Sprintf("%s:%d", filepath.Base(path), begin)
		block := lines[begin:i]
		switch name := namesFile.FindStringSubmatch(above); {
		case leftOut.MatchString(strings.TrimSpace(above)):
		case lang == "console":
			steps = append(steps, readConsole(t, where, block)...)
		case lang == "yaml" && name != nil:
			steps = append(steps, step{where: where, file: name[1], text: strings.Join(block, "\n") + "\n"})
		case lang == "" && len(block) > 0 && strings.HasPrefix(block[0], "$ "):
			t.Errorf("%s: a block of commands that says not that it is one: ```console", where)
		}
		above = ""
	}
	return steps
}

func readConsole(t *testing.T, where string, block []string) (steps []step) {
	t.Helper()
	for _, line := range block {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, step{where: where + ": " + command, command: command})
		} else if len(steps) == 0 {
			t.Fatalf("%s does not begin with a command", where)
		} else {
			last := &steps[len(steps)-1]
			last.shown = append(last.shown, line)
		}
	}
	return steps
}

// follows does one step and compares.
func (w *world) follows(s step) {
	w.t.Helper()
	here := strings.NewReplacer("/etc/sandboxer.d", w.manifests, "/run/sandboxer/sandboxer.sock", w.socket,
		"/run/sandboxer/", w.state+"/", "/srv/", w.dir+"/srv/")
	if s.file != "" {
		for _, m := range regexp.MustCompile(`(?m)^  name: (.*)$`).FindAllStringSubmatch(s.text, -1) {
			w.names[m[1]] = true
		}
		if err := os.WriteFile(filepath.Join(w.dir, "work", s.file), []byte(here.Replace(s.text)), 0o644); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	if s.command == "sandboxer daemon" {
		if w.alive() {
			return // it runs in another terminal
		}
		w.start()
		return
	}
	// How long a reader is told to wait is not how long this host may take.
	command := regexp.MustCompile(`--timeout \d+s\b`).ReplaceAllString(here.Replace(s.command), "--timeout "+patience.String())
	cmd := exec.Command("bash", "-c", "PATH=$PWD:$PATH\n"+command)
	cmd.Dir = filepath.Join(w.dir, "work")
	var r result
	done := func() bool {
		again := *cmd
		r = w.command(&again)
		return len(s.shown) == 0 && r.code == 0 || len(s.shown) > 0 && shows(s.shown, r.out+r.err)
	}
	// What is looked at may be about to happen.
	looks := regexp.MustCompile(`^sandboxer (?:get|logs|events)(?: |$)`).MatchString(s.command)
	if !done() && !(looks && poll(done)) {
		w.t.Fatalf("%s\nends with %d and prints\n%s%s", s.where, r.code, r.out, r.err)
	}
	if strings.HasPrefix(s.command, "kill -9 $(cat") {
		<-w.daemon.ended
	}
}

// shows compares what a document shows with what was printed.
func shows(shown []string, printed string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(plain(strings.Join(shown, "\n"))), `\.\.\.`, ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(plain(printed))
}

var (
	spaces   = regexp.MustCompile(`\s+`)
	measured = regexp.MustCompile(`\d+(?:[.:]\d+)*(?:µs|ms|s|m|h)*(?:\d+s)?`)
)

// plain is a text without what differs from run to run, where its lines are
// broken included.
func plain(text string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(measured.ReplaceAllString(text, "#"), " "))
}
