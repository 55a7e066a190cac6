package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
)

// usual is what engines write into every specification.
const usual = `{"ociVersion": "1.0.2-dev", "hostname": "runc",
	"process": {"terminal": false, "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 63}, "args": ["/workload"], "cwd": "/",
		"env": ["PATH=/bin", "HOME="], "noNewPrivileges": true, "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 77, "soft": 77}],
		"capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": [], "ambient": []}},
	"root": {"path": "rootfs", "readonly": true}, "hooks": {}, "annotations": {"a": "b"},
	"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
		{"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
		{"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
		{"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
		{"destination": "/etc/hosts", "type": "bind", "source": "/etc/hosts", "options": ["rbind", "rprivate", "rro"]},
		{"destination": "/data", "type": "none", "source": "data", "options": ["bind", "rw"]},
		{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
		{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}],
	"linux": {"resources": {"devices": [{"allow": false, "access": "rwm"}], "memory": {}, "cpu": {}}, "cgroupsPath": "/x", "rootfsPropagation": "rprivate",
		"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}],
		"maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
			"/proc/sched_debug", "/sys/firmware", "/proc/scsi", "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu0/thermal_throttle"],
		"readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}}`

// read reads a bundle whose specification is usual with changes (JSON merged on
// top, as one object).
func read(t *testing.T, changes string, m Manifest) (*specs.Spec, error) {
	t.Helper()
	var spec, change map[string]any
	for text, into := range map[string]*map[string]any{usual: &spec, changes: &change} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	merge(spec, change)
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if m.Container == nil {
		m.Container = &desired.Container{}
	}
	return Read(anyLink, dir, m)
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

// What a bundle says and nobody would carry out is refused, by its name.
func TestRefused(t *testing.T) {
	for changes, want := range map[string]string{
		`{"root": null}`: "root.path", `{"process": null}`: "process is missing",
		`{"process": {"terminal": true}}`:                                                    "process.terminal",
		`{"process": {"apparmorProfile": "x"}}`:                                              "apparmorProfile",
		`{"process": {"selinuxLabel": "x"}}`:                                                 "selinuxLabel",
		`{"process": {"ioPriority": {"class": "IOPRIO_CLASS_RT"}}}`:                          "ioPriority",
		`{"process": {"oomScoreAdj": 100}}`:                                                  "oomScoreAdj in the manifest",
		`{"domainname": "x"}`:                                                                "domainname",
		`{"hooks": {"poststop": [{"path": "/bin/true"}]}}`:                                   "hooks",
		`{"annotations": {"dev.gvisor.flag.debug": "true"}}`:                                 "dev.gvisor.flag.debug",
		`{"mounts": [{"destination": "/x", "type": "nfs", "source": "h:/"}]}`:                "nfs",
		`{"mounts": [{"destination": "x", "type": "tmpfs"}]}`:                                "not absolute",
		`{"linux": {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]}}`:        "uidMappings",
		`{"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}}`:                                "sysctl",
		`{"linux": {"devices": [{"path": "/dev/fuse", "type": "c"}]}}`:                       "linux.devices",
		`{"linux": {"resources": {"memory": {"limit": 1000000}}}}`:                           "resources.limits in the manifest",
		`{"linux": {"resources": {"pids": {"limit": 10}}}}`:                                  "resources.limits in the manifest",
		`{"linux": {"namespaces": [{"type": "network", "path": "/var/run/netns/blue"}]}}`:    "/var/run/netns/blue",
		`{"linux": {"maskedPaths": ["/etc/shadow"]}}`:                                        "/etc/shadow",
		`{"linux": {"readonlyPaths": ["/process"]}}`:                                         "/process",
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}}}`: "linux.seccomp.defaultAction: errnoRet: 38 is not supported",
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}}}`:  "SCMP_ACT_ALLOW returns no error",
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone3"],
			"action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}}}`: "linux.seccomp.syscalls[0] (clone3): errnoRet: 38 is not supported",
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"},
			{"names": ["clone3"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]}}}`: "syscalls[1] (clone3): errnoRet: the action SCMP_ACT_KILL",

		`{"ociVersion": "2.0.0"}`: "ociVersion", `{"ociVersion": null}`: "ociVersion",
		`{"hostname": "db1"}`:                                                        "hostname \"db1\"",
		`{"process": {"args": []}}`:                                                  "process.args is empty",
		`{"process": {"cwd": "tmp"}}`:                                                "process.cwd \"tmp\"",
		`{"process": {"env": ["PATH=/bin", "HOME"]}}`:                                "process.env[1] \"HOME\" has no \"=\"",
		`{"process": {"env": ["=x"]}}`:                                               "process.env[0]",
		`{"process": {"user": {"umask": 512}}}`:                                      "process.user.umask",
		`{"process": {"user": {"uid": 4294967295}}}`:                                 "process.user.uid: 4294967295 is no ID",
		`{"process": {"user": {"additionalGids": [1, 4294967295]}}}`:                 "process.user.additionalGids: 4294967295",
		`{"process": {"capabilities": {"ambient": ["CAP_KILL"]}}}`:                   "ambient: CAP_KILL is not permitted and inheritable as well",
		`{"process": {"capabilities": {"permitted": []}}}`:                           "effective: CAP_KILL is not permitted as well",
		`{"process": {"rlimits": [{"type": "NOFILE"}]}}`:                             "process.rlimits[0]: \"NOFILE\"",
		`{"process": {"rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]}}`:   "RLIMIT_CPU: soft is more",
		`{"process": {"rlimits": [{"type": "RLIMIT_CPU"}, {"type": "RLIMIT_CPU"}]}}`: "RLIMIT_CPU is there twice",
		`{"process": {"capabilities": {"ambient": ["CAP_NET_BIND_SERVCE"]}}}`:        "process.capabilities.ambient[0]: \"CAP_NET_BIND_SERVCE\" is no capability (did you mean \"CAP_NET_BIND_SERVICE\"?)",
		`{"process": {"capabilities": {"bounding": ["CAP_KIL"]}}}`:                   "(did you mean \"CAP_KILL\"?)",
		`{"Process": {"args": ["/x"]}}`:                                              "Process is not supported", `{"process": {"nice": 3}}`: "process.nice is not supported",
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_LOG"}}}`:                                         "the action \"SCMP_ACT_LOG\"",
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}}}`: "SECCOMP_FILTER_FLAG_LOG",
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_KILL",
			"args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}]}}}`: "no argument 6",
		`{"linux": {"maskedPaths": ["/proc/cpuinfo"]}}`: "linux.maskedPaths: /proc/cpuinfo", `{"linux": {"readonlyPaths": ["/proc/self"]}}`: "/proc/self",
		`{"linux": {"rootfsPropagation": "shared"}}`:                            "rootfsPropagation",
		`{"linux": {"namespaces": [{"type": "moon"}]}}`:                         "moon",
		`{"mounts": [{"destination": "/x", "type": "none", "source": "/etc"}]}`: "mounts[0] (/x): the file system \"none\"",
		`{"mounts": [{"destination": "/", "type": "tmpfs"}]}`:                   "over the root",
		`{"mounts": [{"destination": "/x", "type": "bind"}]}`:                   "needs a source",
	} {
		_, err := read(t, changes, Manifest{Hostname: "web"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: %v, want %q", changes, err, want)
		}
	}
	if _, err := read(t, `{"process": {"oomScoreAdj": 100}}`, Manifest{Container: &desired.Container{OOMScoreAdj: new(5)}}); err != nil {
		t.Errorf("the manifest's own score: %v", err)
	}
	if _, err := read(t, `{"hostname": "db1", "process": {"args": null}}`, Manifest{Hostname: "db1", Container: &desired.Container{Command: []string{"/x"}}}); err != nil {
		t.Errorf("the manifest's own host name and command: %v", err)
	}
	if _, err := Read(anyLink, t.TempDir(), Manifest{Container: &desired.Container{}}); err == nil {
		t.Error("read a bundle without a specification")
	}
}

// All reasons are told at once.
func TestEveryReason(t *testing.T) {
	_, err := read(t, `{"domainname": "x", "vm": {"kernel": {"path": "/k"}}, "mounts": [{"destination": "x", "type": "nfs", "options": ["tcp"]}],
		"process": {"env": ["A"], "cwd": "x"}, "linux": {"sysctl": {"a": "b"}, "mountLabel": "x"}}`, Manifest{})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Faults) != 9 {
		t.Errorf("told of %q", refused.Faults)
	}
}

// What every engine writes is taken, and a sentry is told of mounts what it
// carries out.
func TestUsual(t *testing.T) {
	spec, err := read(t, `{}`, Manifest{Hostname: "web"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Mounts {
		want := map[string]string{"/proc": "[]", "/dev": "[nosuid mode=755 size=65536k]", "/dev/pts": "[nosuid noexec]",
			"/dev/shm": "[nosuid noexec mode=1777 size=65536k]", "/dev/mqueue": "[nosuid noexec]", "/etc/hosts": "[rbind ro]",
			"/data": "[bind rw]", "/sys": "[nosuid noexec ro]", "/sys/fs/cgroup": "[nosuid noexec ro]"}[m.Destination]
		if got := fmt.Sprint(m.Options); got != want {
			t.Errorf("%s: %s, want %s", m.Destination, got, want)
		}
		if m.Destination == "/data" && !filepath.IsAbs(m.Source) {
			t.Errorf("the source is %q", m.Source)
		}
	}
}

// Every option that mount(8) and the specification name is carried out, so in
// any case, or refused by name.
func TestMountOptions(t *testing.T) {
	told := func(kind, option string) string {
		m := specs.Mount{Destination: "/x", Type: kind, Source: "/s", Options: []string{option}}
		if faults := mount(m); len(faults) > 0 {
			if !strings.Contains(faults[0], fmt.Sprintf("%q", option)) {
				t.Errorf("%s on %s is refused with %q", option, kind, faults)
			}
			return "refused"
		}
		return strings.Join(told(m), ",")
	}
	for _, c := range []struct{ kind, options, want string }{
		{"bind", "ro rw noexec exec nosuid noatime atime", "="},
		{"bind", "rro", "ro"}, {"bind", "rrw", "rw"}, {"bind", "rnoexec", "noexec"}, {"bind", "rexec", "exec"}, {"bind", "rnosuid", "nosuid"},
		{"bind", "rnoatime", "noatime"}, {"bind", "ratime", "atime"},
		{"bind", "defaults suid dev nodev async symfollow relatime norelatime strictatime nostrictatime diratime nodiratime noiversion " +
			"nolazytime nomand loud silent private rprivate rsuid rdev rnodev rsymfollow rrelatime rnorelatime rstrictatime rnostrictatime rdiratime rnodiratime", ""},
		{"bind", "shared rshared slave rslave unbindable runbindable nosymfollow rnosymfollow idmap ridmap sync dirsync iversion lazytime mand " +
			"remount tmpcopyup size=1m mode=700 uid=1 gid=1 acl user x-mount.mkdir context=x", "refused"},
		{"tmpfs", "size=1m mode=700 uid=1 gid=1", "="},
		{"tmpfs", "tmpcopyup nr_inodes=1 nr_blocks=1 mpol=bind huge=always noswap inode64 size mode shared sync nosymfollow", "refused"},
		{"proc", "hidepid=2 gid=1 subset=pid size=1", "refused"}, {"sysfs", "size=1", "refused"}, {"mqueue", "size=1", "refused"},
		{"devpts", "newinstance ptmxmode=0666 mode=0620 gid=5", ""}, {"devpts", "max=5 uid=1", "refused"},
	} {
		for _, o := range strings.Fields(c.options) {
			want := c.want
			if want == "=" {
				want = o
			}
			if got := told(c.kind, o); got != want {
				t.Errorf("%s on %s: %q, want %q", o, c.kind, got, want)
			}
		}
	}
}

// Options that undo each other count as with other engines.
func TestMountOptionsUndone(t *testing.T) {
	for options, want := range map[string]string{
		"ro rw": "rw", "rw ro": "ro", "exec noexec": "noexec", "nosuid suid": "", "suid nosuid": "nosuid", "noatime strictatime": "",
		"noatime relatime": "noatime", "ro ro": "ro", "bind ro nosuid rw": "bind nosuid rw",
		"rro rw": "ro", "rw rro": "ro", "rro rrw": "rw", "ro rrw": "rw", "noexec rexec exec": "exec",
	} {
		m := specs.Mount{Destination: "/x", Type: "bind", Source: "/s", Options: strings.Fields(options)}
		if got := strings.Join(told(m), " "); got != want {
			t.Errorf("%s: told %q, want %q", options, got, want)
		}
	}
}

// What the sentry would have at its own places is refused, and so are values
// that it could not read, or that it would leave out.
func TestMountsRefused(t *testing.T) {
	for _, c := range []struct{ at, kind, option, want string }{
		{"/x", "tmpfs", "size=abc", `the option "size=abc"`}, {"/x", "tmpfs", "size=-1", `"size=-1"`}, {"/x", "tmpfs", "size=", `"size="`},
		{"/x", "tmpfs", "size=64Mi", `"size=64Mi"`}, {"/x", "tmpfs", "mode=99", `"mode=99"`}, {"/x", "tmpfs", "mode=u+w", `"mode=u+w"`},
		{"/x", "tmpfs", "uid=root", `"uid=root"`}, {"/x", "tmpfs", "gid=-1", `"gid=-1"`}, {"/x", "tmpfs", "gid=4294967295", "4294967294"},
		{"/x", "tmpfs", "size=10%", ""}, {"/x", "tmpfs", "size=1024", ""}, {"/x", "tmpfs", "mode=01777", ""}, {"/x", "tmpfs", "size=64m", ""},
		{"/dev", "tmpfs", "mode=700", `"mode=700" is not supported: only 755`}, {"/dev", "tmpfs", "uid=7", `"uid=7"`}, {"/dev/", "tmpfs", "mode=0755", ""},
		{"/dev", "tmpfs", "size=1k", ""}, {"/dev", "proc", "ro", "only tmpfs is, or a bind mount"}, {"/dev", "bind", "rbind", ""},
		{"/dev/pts", "tmpfs", "ro", "only devpts is, or a bind mount"}, {"/dev/pts", "bind", "rbind", ""},
		{"/dev/pts", "devpts", "gid=7", `"gid=7"`}, {"/dev/pts", "devpts", "mode=0666", `"mode=0666"`}, {"/dev/pts", "devpts", "ptmxmode=0000", `"ptmxmode=0000"`},
	} {
		faults := mount(specs.Mount{Destination: c.at, Type: c.kind, Source: "/s", Options: []string{c.option}})
		if c.want == "" && len(faults) > 0 || c.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], c.want)) {
			t.Errorf("%s at %s with %s is answered by %q, want %q", c.kind, c.at, c.option, faults, c.want)
		}
	}
}

// later are the properties of version 1.3 that the types of 1.2 do not have.
var later = []string{"freebsd", "linux.memoryPolicy", "linux.netDevices"}

// Each property of the specification is decided, and no other is. One that a
// new version brings fails here until it is.
func TestEveryPropertyIsDecided(t *testing.T) {
	decided := map[string]bool{}
	var all func(typ reflect.Type, at string)
	all = func(typ reflect.Type, at string) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			if typ.Kind() == reflect.Slice {
				at += "[]"
			}
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			t.Errorf("%s has no parts", at)
			return
		}
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			path := below(at, name)
			r, known := rules[path]
			if !known {
				t.Errorf("%s is not decided", path)
			}
			if decided[path] = true; r.verdict == parted {
				all(f.Type, path)
			}
		}
	}
	all(reflect.TypeFor[specs.Spec](), "")
	for path, r := range rules {
		if !decided[path] && !slices.Contains(later, path) {
			t.Errorf("%s is no property", path)
		}
		if (r.verdict == refused) != (r.why != "") {
			t.Errorf("%s is refused, or not, and says %q", path, r.why)
		}
		if r.verdict != refused {
			continue
		}
		if faults := undone(asking(path)); len(faults) != 1 || !strings.HasPrefix(faults[0], strings.ReplaceAll(path, "[]", "[0]")+" ") {
			t.Errorf("asking for %s is answered by %q", path, faults)
		}
	}
}

// asking is a specification that asks for nothing but path.
func asking(path string) map[string]any {
	var value any = map[string]any{"x": "y"}
	names := strings.Split(path, ".")
	for _, name := range slices.Backward(names) {
		bare, list := strings.CutSuffix(name, "[]")
		if list {
			value = []any{value}
		}
		value = map[string]any{bare: value}
	}
	return value.(map[string]any)
}

var anyLink = hostpath.Resolver{Link: hostpath.AnyLink}
