package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// References to variables in commands, arguments and variables are replaced as
// in a Pod: by what is declared before, by nothing else.
func TestReferences(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(filepath.Join(w.dir, "secret"), []byte("s3$(B)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.declare("web", `containers:
- name: app
  rootfs: {path: ROOT}
  command: [/w, print, "$(A) $(B) $$(A) $(NONE) $(HOSTNAME) $(SECRET)"]
  args: [then, env, then, write, "/tmp/$(A)", x, then, "$(LAST)"]
  env: [{name: B, value: "b$(A)"}, {name: A, value: a}, {name: SECRET, valueFrom: {file: DIR/secret}}, {name: C, value: "$(B)-$(SECRET)-$$(A)"}, {name: LAST, value: sleep}]
  readinessProbe: {exec: {command: [/w, read, "/tmp/$(A)"]}, periodSeconds: 1}`)
	w.running("web")
	w.ready("web", "app", true)
	said := strings.Join(w.said("web", "env B=b$(A)"), "\n")
	for _, want := range []string{"a b$(A) $(A) $(NONE) $(HOSTNAME) s3$(B)\n"} {
		if !strings.HasPrefix(said, want) {
			t.Errorf("it says\n%s\nwant\n%s", said, want)
		}
	}
	w.said("web", "env C=b$(A)-s3$(B)-$(A)")
}
