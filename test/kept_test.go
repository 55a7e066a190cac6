package test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Where a sandbox can write is written down again when somebody has removed that.
func TestWrittenIsKept(t *testing.T) {
	w := start(t, "--resync", "1s")
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]\ncontainers:\n- "+
		box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	was := w.running("web")
	said := func() (file string) {
		w.t.Helper()
		if !w.until(func() bool { file = w.writtenFile("web"); return file != "" }) {
			w.t.Fatal("nothing says where the sandbox can write")
		}
		return file
	}
	for range 2 {
		if err := os.Remove(said()); err != nil {
			t.Fatal(err)
		}
		said()
		w.restart()
	}
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Error("the sandbox was made anew")
	}
}

// writtenFile is what says where a sandbox can write; empty: nothing does.
func (w *world) writtenFile(sandbox string) string {
	w.t.Helper()
	files, err := filepath.Glob("/run/sandboxer-claims/written/*.json")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && bytes.Contains(b, []byte(`"stateDir":"`+w.state+`"`)) && bytes.Contains(b, []byte(`"sandbox":"`+sandbox+`"`)) && !bytes.Contains(b, []byte(`"until"`)) {
			return file
		}
	}
	return ""
}
