package test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers are all packages, from the bottom to the top, and what each may import of
// the others. A package names only those above its own line, so that no circle can
// come, not even one of folders. "*" is all of them. Who adds an import here has
// thought of its direction.
var layers = []struct{ name, may string }{
	// Tools that know nothing of sandboxes.
	{"internal/crowd", ""},
	{"internal/entry", ""},
	{"internal/filters", ""},
	{"internal/memfd", ""},
	{"internal/mountinfo", ""},
	{"internal/owner", ""},
	{"internal/pty", ""},
	{"internal/sealed", ""},
	{"internal/tinyelf", ""},
	{"internal/cgroup", "internal/memfd internal/tinyelf"},
	{"internal/entry/join", "internal/entry"},
	{"internal/events", "internal/sealed"},
	{"internal/goferbin", "internal/memfd"},
	{"internal/hostpath", "internal/owner"},
	{"internal/answers", "internal/hostpath internal/mountinfo"},
	{"internal/infra", "internal/memfd internal/tinyelf"},

	// What is declared, and what is.
	{"desired", "internal/owner internal/sealed"},
	{"desired/desiredtest", "desired"},
	{"internal/docgen", "desired"},
	{"observed", "internal/sealed"},

	// The decision, and the loop around it.
	{"oom", "observed"},
	{"reconcile/plan", "desired observed oom"},
	{"reconcile", "observed reconcile/plan"},

	// What carries it out knows, and no runtime does.
	{"internal/checkpoint", "internal/sealed observed"},
	{"internal/hook", "observed"},
	{"internal/logs", "observed"},
	{"internal/oci", "desired internal/hostpath"},
	{"internal/probe", "desired"},
	{"internal/shelf", "internal/hostpath internal/mountinfo internal/sealed observed"},
	{"internal/shelf/shelftest", "internal/shelf"},
	{"internal/claims", "internal/mountinfo internal/sealed internal/shelf observed"},
	{"internal/sources", "desired internal/hostpath internal/oci"},
	{"internal/written", "internal/claims internal/hostpath internal/mountinfo internal/sealed internal/shelf"},

	// The runtime.
	{"internal/sentry", "internal/filters"},
	{"gofer/serve", "internal/filters"},
	{"internal/filters/gen", "gofer/serve internal/filters"},
	{"internal/goferbin/sandboxer-gofer", "gofer/serve"},
	{"gofer", "gofer/serve internal/cgroup internal/memfd internal/tinyelf observed"},
	{"actuator/gvisor", "internal/cgroup internal/infra internal/memfd internal/sentry observed oom"},
	{"actuator", "actuator/gvisor desired gofer gofer/serve internal/answers internal/cgroup internal/checkpoint internal/crowd internal/hook " +
		"internal/hostpath internal/infra internal/logs internal/mountinfo internal/oci internal/owner internal/probe internal/pty internal/sealed " +
		"internal/sentry internal/shelf internal/sources internal/written observed oom reconcile reconcile/plan"},

	// What users see, which reaches no runtime.
	{"internal/api", "desired internal/events internal/logs"},
	{"internal/status", "desired internal/api internal/events observed reconcile reconcile/plan"},

	// The whole.
	{"internal/role", "gofer gofer/serve internal/answers internal/sentry"},
	{"internal/daemon", "*"},
	{"cmd/sandboxer", "*"},

	// What looks at it from outside.
	{"examples/workload", ""},
	{"test", ""},
	{"test/attacker", ""},
	{"test/bench/probe", ""},
	{"test/inside", ""},
	{"test/bench", "gofer internal/api observed"},
}

// drivers are the packages that may import gVisor: those that are a runtime, or a
// part of one, and what is built for one.
var drivers = map[string]string{
	"actuator/gvisor":      "",
	"gofer/serve":          "",
	"internal/filters":     "",
	"internal/filters/gen": "",
	"internal/sentry":      "",
	// Of these no more is to come: what it needs of gVisor belongs in its driver.
	"actuator": "gvisor.dev/gvisor/runsc/boot gvisor.dev/gvisor/runsc/specutils",
}

// knowNoRuntime are those that must not even link one.
var knowNoRuntime = []string{"desired", "observed", "oom", "reconcile", "reconcile/plan", "internal/api", "internal/status", "internal/checkpoint",
	"internal/events", "internal/hook", "internal/logs", "internal/oci", "internal/probe", "internal/sources"}

// Every import goes down, and is one that the table knows of.
func TestLayers(t *testing.T) {
	t.Parallel()
	line := map[string]int{}
	for i, l := range layers {
		if _, twice := line[l.name]; twice {
			t.Errorf("%s has two lines", l.name)
		}
		line[l.name] = i
	}
	there := map[string]bool{}
	for _, p := range packages(t) {
		name, _ := strings.CutPrefix(p.ImportPath, "sandboxer/")
		there[name] = true
		at, known := line[name]
		if !known {
			t.Errorf("%s is on no layer: give it a line, below all that it imports", name)
			continue
		}
		may := strings.Fields(layers[at].may)
		for _, other := range may {
			if to, known := line[other]; other != "*" && (!known || to >= at) {
				t.Errorf("%s may import %s, which does not stand above it", name, other)
			}
		}
		for _, imported := range p.Imports {
			other, own := strings.CutPrefix(imported, "sandboxer/")
			switch {
			case own && line[other] >= at:
				t.Errorf("%s imports %s, which is above it", name, other)
			case own && !slices.Contains(may, "*") && !slices.Contains(may, other):
				t.Errorf("%s imports %s, which its line in the table does not say", name, other)
			case strings.HasPrefix(imported, "gvisor.dev/") && !mayImport(name, imported):
				t.Errorf("%s imports gVisor: %s", name, imported)
			case strings.HasPrefix(imported, "k8s.io/client-go"), strings.HasPrefix(imported, "k8s.io/api/"):
				t.Errorf("%s imports Kubernetes: %s", name, imported)
			}
		}
		for _, other := range may {
			if other != "*" && len(p.GoFiles) > 0 && !slices.Contains(p.Imports, "sandboxer/"+other) {
				t.Errorf("%s may import %s and does not: take it out of its line", name, other)
			}
		}
	}
	for name := range line {
		if !there[name] {
			t.Errorf("there is no package %s any more", name)
		}
	}
}

func mayImport(name, imported string) bool {
	only, driver := drivers[name]
	return driver && (only == "" || slices.Contains(strings.Fields(only), imported))
}

// What decides, and what users see, links no runtime, also not through others.
func TestNoRuntimeBelow(t *testing.T) {
	t.Parallel()
	for _, name := range knowNoRuntime {
		out, err := exec.Command("go", "list", "-deps", "sandboxer/"+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for imported := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(imported, "gvisor.dev/") {
				t.Errorf("%s links gVisor: %s", name, imported)
				break
			}
		}
	}
}

// The map shows every package that is a part of the program, and none that is not
// there.
func TestMapShowsThePackages(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n## Packages\n")
	text, _, _ = strings.Cut(text, "\n## ")
	shown := map[string]bool{}
	for row := range strings.Lines(text) {
		if cells := strings.Split(row, "|"); len(cells) > 2 {
			for i, name := range strings.Split(cells[1], "`") {
				if i%2 == 1 {
					shown[name] = true
				}
			}
		}
	}
	for _, l := range layers {
		folder, _, _ := strings.Cut(l.name, "/")
		if !shown[l.name] && folder != "test" && folder != "examples" {
			t.Errorf("ARCHITECTURE.md does not show %s", l.name)
		}
	}
	for name := range shown {
		if _, err := os.Stat("../" + name); err != nil {
			t.Errorf("ARCHITECTURE.md shows %s, which is not there", name)
		}
	}
}
