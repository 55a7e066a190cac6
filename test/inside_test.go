package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the operations' page says that an application can and can't do is so,
// and it says all that is tried.
func TestLinuxInside(t *testing.T) {
	w := start(t)
	root := filepath.Join(w.dir, "root")
	for _, dir := range []string{root, filepath.Join(w.dir, "v")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := build(filepath.Join(root, "inside"), "./inside"); err != nil {
		t.Fatal(err)
	}
	w.declare("web", "restartPolicy: Never\nvolumes: [{name: v, hostPath: {path: DIR/v}}]\n"+
		"containers:\n- {name: app, rootfs: {path: DIR/root}, command: [/inside, /v], terminal: true, volumeMounts: [{name: v, mountPath: /v}], "+
		"resources: {limits: {memory: 64Mi, cpu: 500m}}}")
	w.wait("web", "done", phase("Succeeded"))
	documented := outcomes(t)
	for line := range strings.Lines(w.ok("logs", "web")) {
		name, got, found := strings.Cut(strings.TrimSpace(line), "\t")
		if !found {
			continue
		}
		if want := documented[name]; got != want {
			t.Errorf("%s: %s, and docs/operations.md says %q", name, got, want)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/operations.md tells of %q, which was not tried", name)
	}
}

// outcomes are what docs/operations.md says of each thing: a row with an error,
// or that it is there.
func outcomes(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## What an application can't do\n")
	section, _, _ = strings.Cut(section, "\n## ")
	cannot, can, _ := strings.Cut(section, "\nWhat is there,")
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([A-Z]+)` \\|").FindAllStringSubmatch(cannot, -1) {
		documented[row[1]] = row[2]
	}
	for row := range strings.Lines(can) {
		if row, found := strings.CutPrefix(row, "| "); found {
			// What is in parentheses is not tried.
			row = regexp.MustCompile(`\([^)]*\)`).ReplaceAllString(row, "")
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row, -1) {
				documented[name[1]] = "works"
			}
		}
	}
	return documented
}
