package actuator

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/hostpath"
	"sandboxer/reconcile/plan"
)

// usual is what engines write into every specification.
const usual = `{"ociVersion": "1.0.0", "hostname": "runc",
	"process": {"user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 63}, "args": ["/workload", "id"], "cwd": "/",
		"env": ["PATH=/bin", "HOME=/root"], "noNewPrivileges": true, "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 77, "soft": 77}],
		"capabilities": {"bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}},
	"root": {"path": "rootfs", "readonly": true}, "hooks": {},
	"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
		{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}],
	"linux": {"resources": {"devices": [{"allow": false, "access": "rwm"}]},
		"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "mount"}],
		"maskedPaths": ["/proc/kcore", "/sys/firmware"], "readonlyPaths": ["/proc/sys"]}}`

// reading is an actuator that does nothing but read.
func reading() *Actuator {
	return &Actuator{c: Config{AllowUnsafeOwners: true, Answers: answers.New(os.Args[0], nil)}}
}

// inBundle writes a bundle whose specification is usual with changes (JSON
// merged on top, as one object).
func inBundle(t *testing.T, changes string) string {
	t.Helper()
	var spec map[string]any
	check(t, json.Unmarshal([]byte(usual), &spec))
	var change map[string]any
	check(t, json.Unmarshal([]byte(changes), &change))
	merge(spec, change)
	b, err := json.Marshal(spec)
	check(t, err)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600))
	check(t, os.Symlink(root(t), filepath.Join(dir, "rootfs")))
	return dir
}

func merge(into, from map[string]any) {
	for key, value := range from {
		below, ok := value.(map[string]any)
		if old, both := into[key].(map[string]any); ok && both {
			merge(old, below)
			continue
		}
		into[key] = value
	}
}

// A usual bundle runs as it says.
func TestBundleRuns(t *testing.T) {
	r := newRig(t)
	deny := `"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
		"syscalls": [{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}}`
	c := desired.Container{Name: "app", RestartPolicy: desired.Never, Bundle: inBundle(t, `{`+deny+`,
		"process": {"args": ["/workload", "id", "then", "read", "/proc/self/limits", "then", "read", "/proc/self/status", "then", "mkdir", "/dev/shm/x"]}}`)}
	r.run(plan.Declare(sandbox("bundle", c)))
	rec := r.awaitEnded()
	text := r.output(rec)
	for _, want := range []string{"uid 5 gid 6 groups", " 7\n", "CapBnd:\t0000000000000021", "Seccomp:\t2", "operation not permitted"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in what it said:\n%s", want, text)
		}
	}
	if !strings.Contains(text, "77") || rec.Exit.Code != 1 {
		t.Errorf("ended with %+v, limits as:\n%s", rec.Exit, text)
	}
}

// A manifest's word goes over the bundle's.
func TestManifestOverBundle(t *testing.T) {
	r := newRig(t)
	dir := inBundle(t, `{}`)
	c := &desired.Container{
		Name: "app", Bundle: dir, Args: []string{"more"}, WorkingDir: "/w", OOMScoreAdj: new(9),
		Env: []desired.EnvVar{{Name: "HOME", Value: "/h"}, {Name: "A", Value: "1"}},
		SecurityContext: desired.SecurityContext{RunAsUser: new(int64(1)), RunAsGroup: new(int64(2)),
			NoNewPrivileges: new(false), ReadOnlyRootFilesystem: new(false)},
	}
	b, err := r.bundle(sandbox("over", *c), c)
	check(t, err)
	defer b.close()
	p := b.spec.Process
	if !slices.Equal(p.Args, []string{"/workload", "id", "more"}) || p.Cwd != "/w" || p.NoNewPrivileges || b.spec.Root.Readonly ||
		p.User.UID != 1 || p.User.GID != 2 || len(p.User.AdditionalGids) > 0 || *p.User.Umask != 63 {
		t.Errorf("process %+v, user %+v", p, p.User)
	}
	if want := []string{"PATH=/bin", "HOSTNAME=over", "HOME=/h", "A=1"}; !slices.Equal(p.Env, want) {
		t.Errorf("environment %q, want %q", p.Env, want)
	}
	// The bundle's root file system is a symbolic link: what it led to when it
	// was checked is what is served.
	if real, err := filepath.EvalSymlinks(filepath.Join(dir, "rootfs")); err != nil || b.spec.Root.Path != "/" || b.mounts[0].Source != real {
		t.Errorf("root %+v, served %+v", b.spec.Root, b.mounts)
	}
	if slices.ContainsFunc(b.spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" }) {
		t.Error("a cgroup mount was left in")
	}
	c.Command = []string{"/other"}
	b.close()
	if b, err = r.bundle(sandbox("over", *c), c); err != nil || !slices.Equal(b.spec.Process.Args, []string{"/other", "more"}) {
		t.Errorf("arguments %q, %v", b.spec.Process.Args, err)
	}
}

// anyLink follows every link.
var anyLink = hostpath.Resolver{Link: hostpath.AnyLink}

// Values from files are read as they are but for one newline; what would hold
// up or fill the daemon is refused at once.
func TestValueFrom(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	check(t, unix.Mkfifo(pipe, 0o600))
	for _, c := range []struct{ file, want, err string }{
		{write("plain", "secret"), "V=secret", ""}, {write("newline", "a\nb\n\n"), "V=a\nb\n", ""}, {write("empty", ""), "V=", ""},
		{write("nul", "a\x00b"), "", "NUL"}, {write("large", strings.Repeat("x", envMax+1)), "", "longer than"},
		{pipe, "", "not a regular file"}, {"/dev/zero", "", "not a regular file"}, {dir, "", "not a regular file"},
		{filepath.Join(dir, "none"), "", "no such file"},
	} {
		p := &specs.Process{}
		done := make(chan error, 1)
		go func() {
			_, err := reading().applyEnv(anyLink, p, sandbox("s"), &desired.Container{Env: []desired.EnvVar{{Name: "V", ValueFrom: &desired.EnvSource{File: c.file}}}})
			done <- err
		}()
		select {
		case err := <-done:
			if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "variable V")) {
				t.Errorf("%s: %v, want %q", c.file, err, c.err)
			}
			if err == nil && !slices.Contains(p.Env, c.want) {
				t.Errorf("%s: %q, want %q", c.file, p.Env, c.want)
			}
		case <-time.After(patience):
			t.Fatalf("%s is read for ever", c.file)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for _, c := range []struct {
		add, drop string
		want      string
	}{
		{"", "", "CHOWN KILL"}, {"SYS_TIME", "", "CHOWN KILL SYS_TIME"}, {"", "KILL", "CHOWN"},
		{"", "ALL", ""}, {"KILL", "ALL", "KILL"}, {"KILL", "KILL", "CHOWN KILL"}, {"CHOWN", "", "CHOWN KILL"},
	} {
		p := &specs.Process{Capabilities: capabilities([]string{"CHOWN", "KILL"})}
		applyCapabilities(p, desired.Capabilities{Add: strings.Fields(c.add), Drop: strings.Fields(c.drop)})
		got := fmt.Sprint(p.Capabilities.Bounding, p.Capabilities.Effective, p.Capabilities.Permitted)
		set := fmt.Sprint(capabilities(strings.Fields(c.want)).Bounding)
		if got != set+" "+set+" "+set || len(p.Capabilities.Inheritable)+len(p.Capabilities.Ambient) > 0 {
			t.Errorf("add %q, drop %q: %s, want %s three times", c.add, c.drop, got, set)
		}
	}
	p := &specs.Process{Capabilities: capabilities([]string{"CHOWN", "KILL"})}
	p.Capabilities.Inheritable, p.Capabilities.Ambient = []string{"CAP_CHOWN", "CAP_KILL"}, []string{"CAP_KILL"}
	applyCapabilities(p, desired.Capabilities{Drop: []string{"CHOWN"}, Add: []string{"SYS_TIME"}})
	if got := fmt.Sprint(p.Capabilities.Inheritable, p.Capabilities.Ambient); got != "[CAP_KILL] [CAP_KILL]" {
		t.Errorf("a bundle's own are %s without CHOWN", got)
	}
	applyCapabilities(p, desired.Capabilities{Drop: []string{"ALL"}, Add: []string{"CHOWN"}})
	if got := fmt.Sprint(p.Capabilities.Inheritable, p.Capabilities.Ambient); got != "[] []" {
		t.Errorf("a bundle's own are %s without any", got)
	}
	p = &specs.Process{Capabilities: capabilities(nil)}
	applyCapabilities(p, desired.Capabilities{Add: []string{"ALL"}})
	if len(p.Capabilities.Bounding) < 38 {
		t.Errorf("ALL is %q", p.Capabilities.Bounding)
	}
}
