package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/cgroup"
	"gvisor.dev/gvisor/runsc/sandbox"
)

// beginning is what a sentry finds when it begins.
type beginning struct {
	Args, Environ []string
	// Files are what descriptors are that flags name, and Spec is in one of them.
	Files          map[string][]string
	Spec           string
	Namespaces     map[string]string
	Users, Groups  string
	SetGroups, Dir string
	Leads          bool
}

// pretend is a sentry that tells, in a file of its bundle, what it finds, and
// ends without having answered.
func pretend() int {
	switch os.Args[len(os.Args)-1] {
	case "silent":
		return 3
	case "stuck":
		_ = unix.Pause()
	}
	b, bundle, err := begun()
	if err == nil {
		var text []byte
		if text, err = json.Marshal(b); err == nil {
			err = os.WriteFile(filepath.Join(bundle, "seen"), text, 0o644)
		}
	}
	if err != nil {
		return 4
	}
	return 5
}

func begun() (b beginning, bundle string, err error) {
	b.Environ, b.Files, b.Namespaces = os.Environ(), map[string][]string{}, map[string]string{}
	for _, arg := range os.Args {
		name, value, _ := strings.Cut(arg, "=")
		switch {
		case name == "--bundle":
			bundle = value
		case value == "-1":
			// There is none, as where nothing is said.
		case strings.HasSuffix(name, "-fd"), strings.HasSuffix(name, "-fds"):
			link, err := os.Readlink("/proc/self/fd/" + value)
			if err != nil {
				return b, "", err
			}
			if name == "--spec-fd" {
				text, err := os.ReadFile("/proc/self/fd/" + value)
				if err != nil {
					return b, "", err
				}
				b.Spec, link = string(text), "a file"
			}
			kind, _, _ := strings.Cut(link, ":") // pipes and sockets have numbers
			b.Files[name] = append(b.Files[name], kind)
		case strings.HasPrefix(name, "--") && value != "":
			b.Args = append(b.Args, arg)
		default: // "--flag" or "--flag", "value"
			b.Args = append(b.Args, arg)
		}
	}
	for _, ns := range []string{"ipc", "mnt", "net", "pid", "uts", "user"} {
		if b.Namespaces[ns], err = os.Readlink("/proc/self/ns/" + ns); err != nil {
			return b, "", err
		}
	}
	for path, to := range map[string]*string{"uid_map": &b.Users, "gid_map": &b.Groups, "setgroups": &b.SetGroups} {
		text, err := os.ReadFile("/proc/self/" + path)
		if err != nil {
			return b, "", err
		}
		*to = string(text)
	}
	if b.Dir, err = os.Getwd(); err != nil {
		return b, "", err
	}
	sid, err := unix.Getsid(0)
	b.Leads = sid == os.Getpid()
	return b, bundle, err
}

// referenceArg0 is the name of a process that gVisor makes a sentry in, of what
// is in the directory that it begins in.
const referenceArg0 = "sandboxer-reference"

// The limits that applications are to see, on both sides.
const referenceMemory, referenceCPUs = 1 << 30, 1.5

type referenceCgroup struct{ cgroup.Cgroup }

func (referenceCgroup) NumCPU() (int, error)         { return runtime.NumCPU(), nil }
func (referenceCgroup) CPUPeriod() (int64, error)    { return cpuPeriod, nil }
func (referenceCgroup) CPUQuota() (int64, error)     { return referenceCPUs * cpuPeriod, nil }
func (referenceCgroup) MemoryLimit() (uint64, error) { return referenceMemory, nil }
func (referenceCgroup) Uninstall() error             { return nil }

func reference(host bool) int {
	dir := os.Args[2]
	err := os.Setenv("GVISOR_SIDECAR_BINARIES_DIR", os.DevNull)
	check := func(more error) {
		if err = errors.Join(err, more); err != nil {
			fmt.Fprintln(os.Stdout, err)
			os.Exit(1)
		}
	}
	null, more := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	check(more)
	os.Stdin, os.Stderr = null, null
	out := os.Stdout
	os.Stdout = null
	c := Create{ID: "other", Hostname: "name", HostNetwork: host, Shares: []string{"v"}}
	spec, confs, more := c.spec()
	check(more)
	text, more := json.Marshal(spec)
	check(more)
	check(os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644))
	image, more := os.Open(os.DevNull)
	check(more)
	socket, more := os.Open(os.DevNull)
	check(more)
	conf, more := runscConfig(dir, host)
	check(more)
	_, more = sandbox.New(conf, &sandbox.Args{
		ID: c.ID, Spec: spec, BundleDir: dir, IOFiles: []*os.File{image, socket}, GoferMountConfs: confs,
		UserLog: filepath.Join(dir, "user.log"), Cgroup: referenceCgroup{},
	})
	fmt.Fprintln(out, more) // it never answers
	return 0
}

// What a sentry is started with, and in, is what gVisor itself would start it
// with. A gVisor that does it in another way is to be followed.
func TestSameAsGVisors(t *testing.T) {
	for _, network := range []string{"none", "host"} {
		read := func(dir string, said error) (b beginning) {
			t.Helper()
			text, err := os.ReadFile(filepath.Join(dir, "seen"))
			if err != nil {
				t.Fatalf("%s: it has told nothing: %v; %v", network, err, said)
			}
			check(t, json.Unmarshal(text, &b))
			for ns, link := range b.Namespaces {
				own, err := os.Readlink("/proc/self/ns/" + ns)
				check(t, err)
				b.Namespaces[ns] = fmt.Sprint("own: ", own != link)
			}
			for i, arg := range b.Args {
				b.Args[i] = strings.ReplaceAll(arg, dir, "DIR")
			}
			// gVisor has some values in an argument of their own.
			args := strings.Fields(strings.ReplaceAll(strings.Join(b.Args, " "), "=", " "))
			slices.Sort(args)
			b.Args = args
			return b
		}
		theirs := t.TempDir()
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{referenceArg0, network, theirs}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		want := read(theirs, fmt.Errorf("%w: %s", err, out))

		c := creation(t, "other")
		log, err := os.OpenFile(filepath.Join(c.Dir, "user.log"), os.O_CREATE|os.O_WRONLY, 0o600)
		check(t, err)
		defer log.Close()
		c.Hostname, c.HostNetwork, c.UserLog = "name", network == "host", log
		c.MemoryBytes, c.CPUs = referenceMemory, referenceCPUs
		c.Shares, c.Sockets = []string{"v"}, []*os.File{c.Image}
		_, err = CreateSandbox(context.Background(), c)
		got := read(c.Dir, err)
		for dir, b := range map[string]*beginning{theirs: &want, c.Dir: &got} {
			for name, files := range b.Files {
				for i := range files {
					files[i] = strings.ReplaceAll(files[i], dir, "DIR")
				}
				b.Files[name] = files
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("network %s: it begins with\n%+v\nand gVisor's with\n%+v", network, got, want)
		}
	}
}
