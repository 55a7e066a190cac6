package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
)

func TestConfigFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	defaults := config{Logs: logsConfig{MaxSize: resource.MustParse("10Mi"), MaxFiles: 5}}
	if c, err := readConfig(path); err != nil || !sameConfig(c, defaults) {
		t.Errorf("without a file: %+v, %v", c, err)
	}
	unsafe, hooks, small := defaults, defaults, defaults
	unsafe.AllowUnsafeManifests = true
	hooks.AllowBundleHooks = true
	small.Logs.MaxSize = resource.MustParse("64Ki")
	for _, f := range []struct {
		text string
		want config
		err  string
	}{
		{"", defaults, ""},
		{"allowUnsafeManifests: true\n", unsafe, ""},
		{"allowBundleHooks: true\n", hooks, ""},
		{"logs: {maxSize: 65536}\n", small, ""},
		{"logs: {maxFiles: 2, maxSize: 1Gi}\n", config{Logs: logsConfig{MaxSize: resource.MustParse("1Gi"), MaxFiles: 2}}, ""},
		{"logs: {maxFiles: 1}\n", config{}, path + ":1: logs.maxFiles: 1: want 2 to 1000"},
		{"logs: {maxSize: 1Ki}\n", config{}, path + ":1: logs.maxSize: 1Ki: want 64Ki or more"},
		{"logs:\n  maxSize: 1Ki\n  maxFiles: 2000\n", config{}, path + ":2: logs.maxSize: 1Ki: want 64Ki or more\n" + path + ":3: logs.maxFiles: 2000: want 2 to 1000"},
		{"access:\n- {group: 0, level: king}\n- group: nosuchgroup\n  level: read\n", config{},
			path + `:2: access[0].level: "king" is no level: want read, operate or admin` + "\n" + path + `:3: access[1].group: the host has no group "nosuchgroup"`},
		{"# who\naccess:\n- {group: 7}\n- {level: read}\n", config{},
			path + `:3: access[0].level: "" is no level: want read, operate or admin` + "\n" + path + ":4: access[1].group: required: a group's name or number"},
		{"access:\n- {group: 0, level: read}\n- {group: root, level: admin}\n", config{}, path + ":3: access[1].group: root has its level from access[0] already"},
		{"access: [{group: -1, level: read}]\n", config{}, path + `:1: access[0].group: the host has no group "-1"`},
		{"resync: 5x\n", config{}, path + ":1: resync: unknown field"},
		{"logs: {maxSize: -1Mi, maxFiles: true}\n", config{}, path + ":1: logs.maxFiles: must be an integer, not the boolean true\n" + path + ":1: logs.maxSize: -1Mi: want 64Ki or more"},
		{"logs: {maxSize: much}\n", config{}, path + `:1: logs.maxSize: "much" is no quantity`},
		{"# ours\nallowUnsafeManifest: true\nlog: {}\n", config{}, path + `:2: allowUnsafeManifest: unknown field (did you mean "allowUnsafeManifests"?)` + "\n" +
			path + `:3: log: unknown field (did you mean "logs"?)`},
		{"logs: {maxfiles: 3}\n", config{}, path + `:1: logs.maxfiles: unknown field (did you mean "maxFiles"?)`},
		{"[", config{}, path + ":1: not valid YAML: "},
	} {
		if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(path)
		if (err == nil) != (f.err == "") || err != nil && !strings.HasPrefix(err.Error(), f.err) {
			t.Errorf("%q: %v", f.text, err)
		} else if err == nil && !sameConfig(c, f.want) {
			t.Errorf("%q: %+v", f.text, c)
		}
	}
	if _, err := readConfig(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

// sameConfig compares what is set: a quantity has several forms.
func sameConfig(a, b config) bool {
	return a.AllowUnsafeManifests == b.AllowUnsafeManifests && a.AllowBundleHooks == b.AllowBundleHooks && a.Logs.MaxFiles == b.Logs.MaxFiles && a.Logs.MaxSize.Equal(b.Logs.MaxSize)
}

func TestLogLevels(t *testing.T) {
	for _, c := range []struct{ level, format, want string }{
		{"debug", "text", "level=DEBUG msg=detail | level=INFO msg=news | level=ERROR msg=bad"},
		{"info", "text", "level=INFO msg=news | level=ERROR msg=bad"},
		{"warn", "text", "level=ERROR msg=bad"},
		{"error", "json", `"level":"ERROR","msg":"bad"`},
	} {
		var b bytes.Buffer
		log := newLog(&b, c.level, c.format)
		log.V(1).Info("detail")
		log.Info("news")
		log.Error(nil, "bad")
		for _, part := range strings.Split(c.want, " | ") {
			if !strings.Contains(b.String(), part) {
				t.Errorf("%s, %s: no %s in\n%s", c.level, c.format, part, b.String())
			}
		}
		if n := strings.Count(b.String(), "\n"); n != 1+strings.Count(c.want, " | ") {
			t.Errorf("%s: %d lines\n%s", c.level, n, b.String())
		}
	}
}
