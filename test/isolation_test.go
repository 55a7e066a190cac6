package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A gofer has namespaces of its own, few capabilities, a seccomp filter, an
// empty environment, a root with nothing but its mounts, and no descriptor but
// what was donated.
func TestGoferIsIsolated(t *testing.T) {
	w := start(t)
	w.declare("web", "volumes:\n- {name: v, emptyDir: {}}\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	s := w.running("web")
	gofer, sentry := *s.box("app").GoferPID, s.Status.SandboxPID
	for _, ns := range []string{"ipc", "mnt", "net", "pid", "uts", "user"} {
		if link(t, gofer, "ns/"+ns) == link(t, os.Getpid(), "ns/"+ns) {
			t.Errorf("the gofer is in the host's %s namespace", ns)
		}
	}
	for _, ns := range []string{"ipc", "mnt", "pid", "uts", "user"} {
		if link(t, sentry, "ns/"+ns) == link(t, os.Getpid(), "ns/"+ns) {
			t.Errorf("the sentry is in the host's %s namespace", ns)
		}
	}
	const mayHave uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH |
		1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", gofer))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("the gofer has no threads: %v", err)
	}
	for _, task := range tasks {
		for _, set := range []string{"CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"} {
			if caps, there := threadLine(t, gofer, task, set); there && caps&^mayHave != 0 {
				t.Errorf("%s of %s is %x", set, task, caps)
			}
		}
		if mode, there := threadLine(t, gofer, task, "Seccomp"); there && mode != 2 {
			t.Errorf("the seccomp mode of %s is %d", task, mode)
		}
	}
	if mode := statusLine(t, fmt.Sprintf("/proc/%d", sentry), "Seccomp"); mode != 2 {
		t.Errorf("the sentry's seccomp mode is %d", mode)
	}
	for _, pid := range []int{gofer, sentry} {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || pid == gofer && len(b) > 0 {
			t.Errorf("the environment of %s is %q, %v", describe(pid), b, err)
		}
	}
	checkDescriptors(t, gofer)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", gofer))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			t.Errorf("the gofer's root holds %s", e.Name())
		}
	}
	if len(entries) != 1 {
		t.Errorf("the gofer's root holds %d entries, not the container's root alone", len(entries))
	}
}

// A sentry has no capability, and can get none, but those to open files as their
// owners and to trace its stubs, and two more where its sockets are the host's:
// in every thread, also where the program had some dropped before gVisor began.
func TestSentryIsBounded(t *testing.T) {
	w := start(t)
	const files uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
	const trace = 1 << unix.CAP_SYS_PTRACE
	for name, want := range map[string]uint64{
		"none": files | trace,
		"host": files | trace | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_BIND_SERVICE,
	} {
		w.declare(name, "network: {mode: "+name+"}\ncontainers:\n- "+box("app", "sleep"))
		sentry := w.running(name).Status.SandboxPID
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", sentry))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("the sentry has no threads: %v", err)
		}
		for _, task := range tasks {
			for set, want := range map[string]uint64{"CapBnd": want, "CapPrm": want, "CapEff": want, "CapInh": 0, "CapAmb": 0} {
				if caps, there := threadLine(t, sentry, task, set); there && caps != want {
					t.Errorf("network %s: %s of %s is %x, want %x", name, set, task, caps, want)
				}
			}
		}
		// Its /proc is away: the helper that unmounts it could.
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", sentry)); err != nil || strings.Contains(string(b), " proc ") {
			t.Errorf("network %s: the sentry has mounted %v\n%s", name, err, b)
		}
	}
}

// checkDescriptors holds a gofer's descriptors to what it needs.
func checkDescriptors(t *testing.T, pid int) {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	var stray []string
	for _, fd := range fds {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		switch {
		case os.IsNotExist(err): // closed meanwhile: it serves
		case err != nil:
			t.Fatal(err)
		case target == "/dev/null":
		case strings.HasPrefix(target, "socket:["), strings.HasPrefix(target, "anon_inode:["), strings.HasPrefix(target, "/memfd:"):
		case target == fmt.Sprintf("/proc/%d/fd", pid), target == "/fd", target == "/proc/1/fd":
		case target == "/", strings.HasPrefix(target, "/web.app.1"): // its mounts, in the sandbox
		default:
			stray = append(stray, fd.Name()+": "+target)
		}
	}
	if len(stray) > 0 {
		t.Errorf("the gofer has descriptors open that nobody donated: %q", stray)
	}
}

func link(t *testing.T, pid int, what string) string {
	t.Helper()
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, what))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// threadLine is statusLine of a thread; false where it has ended, as any but the first
// may.
func threadLine(t *testing.T, pid int, task, key string) (n uint64, there bool) {
	t.Helper()
	n, err := readStatus(task, key)
	if (os.IsNotExist(err) || errors.Is(err, unix.ESRCH)) && filepath.Base(task) != fmt.Sprint(pid) {
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return n, true
}

// statusLine is a number from a process's or thread's status: decimal or, for
// capabilities, hexadecimal.
func statusLine(t *testing.T, dir, key string) uint64 {
	t.Helper()
	n, err := readStatus(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func readStatus(dir, key string) (uint64, error) {
	b, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); name == key {
			return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return 0, fmt.Errorf("%s/status has no %s", dir, key)
}

// What a container is given: user, variables, host name, directory, network.
func TestWhatAContainerSees(t *testing.T) {
	w := start(t)
	if err := os.WriteFile(filepath.Join(w.dir, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.declare("web", "hostname: inside\ncontainers:\n- "+box("app", "id then env then hostname then pwd then interfaces then connect 1 then read /proc/self/status then print done then sleep",
		"workingDir: /proc", "env: [{name: MODE, value: prod}, {name: TOKEN, valueFrom: {file: DIR/token}}]",
		"securityContext: {runAsUser: 1000, runAsGroup: 2000, noNewPrivileges: true, capabilities: {drop: [ALL]}}"))
	w.declare("host", "network: {mode: host}\ncontainers:\n- "+box("app", "interfaces then list /etc then print done then sleep"))
	w.running("web")
	w.running("host")
	said := strings.Join(w.said("web", "done"), "\n")
	for _, want := range []string{"uid 1000 gid 2000", "env MODE=prod", "env TOKEN=secret", "env PATH=", "env HOSTNAME=inside",
		"hostname inside", "pwd /proc", "CapEff:\t0000000000000000"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q but\n%s", want, said)
		}
	}
	if !strings.Contains(said, "interfaces lo\n") && !strings.Contains(said, "interfaces \n") {
		t.Errorf("it sees a network:\n%s", said)
	}
	said = strings.Join(w.said("host", "done"), "\n")
	if !strings.Contains(said, "entry resolv.conf") || !strings.Contains(said, "entry hosts") {
		t.Errorf("with the host's network it says\n%s", said)
	}
	if out := w.ok("describe", "web") + w.ok("get", "web", "-o", "json"); strings.Contains(out, "secret") {
		t.Errorf("a secret shows")
	}
	if b, err := os.ReadFile(filepath.Join(w.dir, "log")); err != nil || strings.Contains(string(b), "secret") {
		t.Errorf("a secret is logged, %v", err)
	}
}
