package oci

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"sandboxer/desired"
)

// Of a bundle that is accepted nothing reaches the host that the rules refuse, in
// whatever order and however often its file says it.
func FuzzBundle(f *testing.F) {
	f.Add([]byte(usual))
	bare := `{"ociVersion":"1.2.0","root":{"path":"/r"},"process":{"args":["/x"],"cwd":"/"}`
	f.Add([]byte(bare + `}`))
	for _, twice := range []string{
		`"linux":{"resources":{"pids":{"limit":1}}},"linux":{}`, `"linux":{"namespaces":[{"type":"pid","path":"/x"}]},"linux":{"namespaces":[]}`,
		`"process":{"apparmorProfile":"x"},"process":{"args":["/x"]}`, `"Hooks":{"prestart":[{"path":"/x"}]}`, `"annotations":{"dev.gvisor.x":"y"},"annotations":{}`,
		`"mounts":[{"destination":"/m","type":"bind","source":"../../etc","options":["rbind","rro"]},{"destination":"//..//","type":"tmpfs"}]`,
	} {
		f.Add([]byte(bare + "," + twice + "}"))
	}
	m := Manifest{Container: &desired.Container{}, Hostname: "web"}
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := parse("/b/config.json", data, m)
		if err != nil {
			return
		}
		if spec.Hooks != nil {
			if b, err := json.Marshal(spec.Hooks); err != nil || string(b) != "{}" {
				t.Errorf("hooks: %s, %v", b, err)
			}
		}
		for key := range spec.Annotations {
			if strings.HasPrefix(key, "dev.gvisor.") {
				t.Errorf("annotation %s", key)
			}
		}
		if !filepath.IsAbs(spec.Root.Path) {
			t.Errorf("root %q", spec.Root.Path)
		}
		for _, mt := range spec.Mounts {
			if !filepath.IsAbs(mt.Destination) || filepath.Clean(mt.Destination) == "/" || IsBind(mt) && !filepath.IsAbs(mt.Source) {
				t.Errorf("mount %+v", mt)
			}
		}
		if l := spec.Linux; l != nil {
			for _, ns := range l.Namespaces {
				if ns.Path != "" {
					t.Errorf("namespace %+v", ns)
				}
			}
			if len(l.Devices)+len(l.Sysctl)+len(l.UIDMappings)+len(l.GIDMappings) > 0 {
				t.Errorf("linux: %+v", l)
			}
		}
		b, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse("/b/config.json", b, m)
		if err != nil {
			t.Fatalf("%s\nis not accepted again: %v", b, err)
		}
		if b2, err := json.Marshal(again); err != nil || string(b2) != string(b) {
			t.Errorf("first\n%s\nthen\n%s", b, b2)
		}
	})
}
