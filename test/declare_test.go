package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// put writes a file into the manifests' directory as one should: beside it and
// then renamed.
func (w *world) put(file, content string) {
	w.t.Helper()
	path := filepath.Join(w.manifests, file)
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(hidden, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(hidden, path); err != nil {
		w.t.Fatal(err)
	}
}

// declare declares a sandbox in NAME.yaml. In the text of spec, ROOT is the
// root file system and DIR the world's directory.
func (w *world) declare(name, spec string) {
	w.t.Helper()
	w.put(name+".yaml", w.document(name, spec))
}

// document is a manifest's text.
func (w *world) document(name, spec string) string {
	w.mu.Lock()
	w.names[name] = true
	w.mu.Unlock()
	spec = strings.NewReplacer("ROOT", rootfs, "DIR", w.dir).Replace(strings.Trim(spec, "\n"))
	return fmt.Sprintf("apiVersion: sandboxer/v1\nkind: Sandbox\nmetadata: {name: %s}\nspec:\n  %s\n",
		name, strings.ReplaceAll(spec, "\n", "\n  "))
}

// undeclare removes the file of a sandbox.
func (w *world) undeclare(name string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.manifests, name+".yaml")); err != nil {
		w.t.Fatal(err)
	}
}

// app is the spec of a sandbox with one container that runs the workload.
func app(command string, more ...string) string {
	return strings.Join(append(more, "containers:", "- "+box("app", command)), "\n")
}

// box is a container that runs the workload, and whatever more says of it.
func box(name, command string, more ...string) string {
	return fmt.Sprintf("{name: %s, rootfs: {path: ROOT}, command: [/w, %s]%s}", name, words(command),
		strings.Join(append([]string{""}, more...), ", "))
}

// words makes a YAML list's inside of a command line.
func words(command string) string {
	list := strings.Fields(command)
	for i, w := range list {
		list[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(list, ", ")
}
