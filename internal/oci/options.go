package oci

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// fileSystems are the types of mounts that a sentry knows, and mqueue, which
// every engine writes into every specification. The sentry would leave out
// others without a word.
var fileSystems = []string{"cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"}

// options are those of any mount that are carried out, by what the sentry is
// told, and those that are so in any case, by nothing: a sandbox has no devices
// but its own, and a mount of it is in no other mount namespace.
var options = map[string]string{
	"ro": "ro", "rw": "rw", "noexec": "noexec", "exec": "exec", "nosuid": "nosuid", "noatime": "noatime", "atime": "atime",
	"bind": "bind", "rbind": "rbind",
	// A bind mount's submounts are part of it.
	"rro": "ro", "rrw": "rw", "rnoexec": "noexec", "rexec": "exec", "rnosuid": "nosuid", "rnoatime": "noatime", "ratime": "atime",
	"defaults": "", "suid": "", "dev": "", "nodev": "", "async": "", "symfollow": "", "relatime": "", "norelatime": "",
	"strictatime": "", "nostrictatime": "", "diratime": "", "nodiratime": "", "noiversion": "", "nolazytime": "", "nomand": "",
	"loud": "", "silent": "", "private": "", "rprivate": "", "rsuid": "", "rdev": "", "rnodev": "", "rsymfollow": "", "rrelatime": "",
	"rnorelatime": "", "rstrictatime": "", "rnostrictatime": "", "rdiratime": "", "rnodiratime": "",
}

// values are the options with a value of some file systems; those that are not
// carried out say what every engine says of them.
var values = map[string]map[string]bool{
	"tmpfs":   {"size": true, "mode": true, "uid": true, "gid": true},
	"devpts":  {"newinstance": false, "ptmxmode": false, "mode": false, "gid": false},
	"cgroup":  {},
	"cgroup2": {"nsdelegate": false, "memory_recursiveprot": false},
}

// IsBind says whether a mount shows a file or directory of the host.
func IsBind(m specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// mount says what of a mount would not be carried out.
func mount(m specs.Mount) (faults []string) {
	if !filepath.IsAbs(m.Destination) {
		faults = append(faults, fmt.Sprintf("destination %q is not absolute", m.Destination))
	}
	if filepath.Clean(m.Destination) == "/" {
		faults = append(faults, "nothing can be mounted over the root")
	}
	bind := IsBind(m)
	switch {
	case bind && m.Source == "":
		faults = append(faults, "a bind mount needs a source")
	case !bind && !slices.Contains(fileSystems, m.Type):
		faults = append(faults, fmt.Sprintf("the file system %q is not supported", m.Type))
	}
	for _, o := range m.Options {
		name, _, hasValue := strings.Cut(o, "=")
		_, known := options[o]
		_, kept := values[m.Type][name]
		// /dev is the sentry's own, whatever its size is said to be.
		dev := filepath.Clean(m.Destination) == "/dev" && (name == "mode" || name == "size")
		if !known && !(kept && !bind) && !dev {
			faults = append(faults, fmt.Sprintf("the option %q is not supported", o))
		} else if kept && values[m.Type][name] && !hasValue {
			faults = append(faults, fmt.Sprintf("the option %q needs a value", o))
		}
	}
	return faults
}

// told are the options of a mount that the sentry is told.
func told(m specs.Mount) []string {
	var list []string
	for _, o := range m.Options {
		name, _, _ := strings.Cut(o, "=")
		if translated, known := options[o]; known {
			o = translated
		} else if !values[m.Type][name] {
			o = ""
		}
		if o != "" {
			list = append(list, o)
		}
	}
	return list
}
