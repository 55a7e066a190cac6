package test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ownRoot makes a root file system for one test, with a few things in it.
func ownRoot(t *testing.T, w *world) string {
	t.Helper()
	root := filepath.Join(w.dir, "root")
	for _, dir := range []string{"etc", "data"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(rootfs, "w"), filepath.Join(root, "w")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc", "conf"), []byte("as it was\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// listing is all that can be told of a directory's content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Containers that share a root directory write to layers of their own, and the
// directory is never touched, not even to make mount points.
func TestRootIsNeverWritten(t *testing.T) {
	w := newWorld(t)
	root := ownRoot(t, w)
	before := listing(t, root)
	w.start()
	const mounts = "volumeMounts: [{name: v, mountPath: /made/deep/down}, {name: f, mountPath: /etc/more}, {name: v, mountPath: /data}]"
	write := "write /etc/conf changed then write /new x then remove /data/gone then read /etc/conf then try-write /made/deep/down/x then list /made/deep then sleep"
	own := strings.ReplaceAll(box("one", write, mounts)+"\n- "+box("two", write, mounts)+"\n- "+
		box("three", "read /etc/conf then list / then sleep")+"\n- "+
		box("four", "try-write /etc/conf then try-write /new then read /etc/conf then sleep", "securityContext: {readOnlyRootFilesystem: true}", mounts)+
		"\n- {name: five, rootfs: {path: ROOT, readOnly: true}, command: [/w, try-write, /etc/conf, then, sleep]}", "ROOT", root)
	w.declare("web", "volumes:\n- {name: v, emptyDir: {}}\n- {name: f, files: {a: b}}\ncontainers:\n- "+own)
	w.running("web")
	for _, name := range []string{"one", "two"} {
		w.said("web/"+name, "changed")
		w.said("web/"+name, "written")
		w.said("web/"+name, "entry down")
	}
	w.said("web/three", "as it was")
	for _, line := range w.said("web/three", "entries") {
		if line == "entry new" || line == "entry made" {
			t.Errorf("one container sees what another wrote: %s", line)
		}
	}
	w.said("web/four", "denied: read-only file system")
	w.said("web/four", "as it was")
	w.said("web/five", "denied: read-only file system")
	if after := listing(t, root); after != before {
		t.Errorf("the root was written to:\n%s\nbecame\n%s", before, after)
	}
	w.undeclare("web")
	w.gone("web")
	if after := listing(t, root); after != before {
		t.Errorf("the root was written to:\n%s\nbecame\n%s", before, after)
	}
}

func TestVolumes(t *testing.T) {
	w := newWorld(t)
	for _, dir := range []string{"data/sub", "keep"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "one.txt"), []byte("a file of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.declare("web", `
volumes:
- {name: data, hostPath: {path: DIR/data, type: Directory}}
- {name: made, hostPath: {path: DIR/made, type: DirectoryOrCreate}}
- {name: file, hostPath: {path: DIR/one.txt, type: File}}
- {name: shared, emptyDir: {}}
- {name: small, emptyDir: {sizeLimit: 1Mi}}
- {name: conf, files: {app.conf: "listen 80\n", other: x}}
containers:
- {name: writer, rootfs: {path: ROOT}, volumeMounts: [{name: data, mountPath: /data}, {name: made, mountPath: /made},
    {name: file, mountPath: /one.txt}, {name: shared, mountPath: /shared}, {name: small, mountPath: /small}, {name: conf, mountPath: /conf}],
   command: [/w, write, /data/sub/new, to the host, then, write, /made/x, "y", then, read, /one.txt, then, write, /one.txt, changed,
     then, write, /shared/message, hello, then, write, /shared/whole, x, then, fill, /small/big, then, read, /conf/app.conf, then, try-write, /conf/app.conf,
     then, list, /conf, then, print, done, then, sleep]}
- {name: reader, rootfs: {path: ROOT}, volumeMounts: [{name: data, mountPath: /data, readOnly: true}, {name: shared, mountPath: /shared}],
   command: [/w, await, /shared/whole, then, read, /shared/message, then, list, /data/sub, then, try-write, /data/x, then, sleep]}`)
	w.running("web")
	said := strings.Join(w.said("web/writer", "done"), "\n")
	for _, want := range []string{"a file of the host", "filled 1048576 then no space left on device", "listen 80",
		"denied: read-only file system", "entry app.conf\nentry other\nentries 2"} {
		if !strings.Contains(said, want) {
			t.Errorf("the writer does not say %q but\n%s", want, said)
		}
	}
	said = strings.Join(w.said("web/reader", "denied: read-only file system"), "\n")
	if !strings.HasPrefix(said, "hello\nentry new\nentries 1") {
		t.Errorf("the reader says\n%s", said)
	}
	for file, want := range map[string]string{"data/sub/new": "to the host\n", "made/x": "y\n", "one.txt": "changed\n"} {
		if b, err := os.ReadFile(filepath.Join(w.dir, file)); string(b) != want {
			t.Errorf("%s holds %q, %v", file, b, err)
		}
	}
	w.undeclare("web")
	w.gone("web")
	if _, err := os.Stat(filepath.Join(w.dir, "data", "sub", "new")); err != nil {
		t.Errorf("the host's directory went with the sandbox: %v", err)
	}
}

// A hostPath that is not what it is said to be fails its container, by name.
func TestVolumesThatAreNotThere(t *testing.T) {
	w := start(t)
	for name, volume := range map[string]string{
		"none":      "{path: DIR/none, type: Directory}",
		"untyped":   "{path: DIR/none}",
		"no-file":   "{path: DIR, type: File}",
		"daemon":    "{path: DIR/s}",
		"in-daemon": "{path: DIR/d/volumes}",
	} {
		w.declare(name, "restartBackoff: {initial: 1h, max: 1h}\nvolumes:\n- {name: v, hostPath: "+volume+"}\ncontainers:\n- "+
			box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
		s := w.wait(name, "failed", phase("Failed"))
		if !strings.Contains(s.Status.Message, w.dir) {
			t.Errorf("%s says %q", name, s.Status.Message)
		}
	}
}

// The host's own root: its programs run, nothing of it can be written, and
// what the daemon keeps is hidden in it and in volumes.
func TestHostRoot(t *testing.T) {
	w := newWorld(t)
	w.shows(hostRoot)
	w.start()
	if err := os.Mkdir(filepath.Join(w.dir, "seen"), 0o755); err != nil {
		t.Fatal(err)
	}
	look := func(dir string) string {
		return strings.ReplaceAll("list D/s then list D/d then list D/seen then print done then sleep", "D", dir)
	}
	onHost := filepath.Join(rootfs, "w")
	w.declare("web", "volumes:\n- {name: v, hostPath: {path: DIR}}\ncontainers:\n"+
		"- {name: app, rootfs: {path: /, readOnly: true}, command: ["+onHost+", try-write, DIR/new, then, "+words(look("DIR"))+"]}\n"+
		"- {name: layer, rootfs: {path: /}, command: ["+onHost+", try-write, DIR/new, then, "+words(look("DIR"))+"]}\n- "+
		box("volume", look("/v"), "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	for name, wrote := range map[string]string{"app": "denied: read-only file system\n", "layer": "written\n", "volume": ""} {
		if said := strings.Join(w.said("web/"+name, "done"), "\n"); said != wrote+"entries 0\nentries 0\nentries 0\ndone" {
			t.Errorf("%s says\n%s", name, said)
		}
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "new")); !os.IsNotExist(err) {
		t.Errorf("the host's root was written to: %v", err)
	}
}
