package oci

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// fileSystems are the types of mounts that a sentry knows, and mqueue, which it
// leaves out and every engine writes into every specification. The sentry would
// leave out others without a word.
var fileSystems = []string{"cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"}

// fixed are places where the sentry mounts a file system of its own, whatever
// else is said than a bind mount.
var fixed = map[string][]string{"/dev": {"tmpfs"}, "/dev/pts": {"devpts"}}

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

// groups are the options that undo each other: of those that are said for the
// mount alone the last one counts, and any that is said for all below it, too,
// counts more, wherever it stands, as with other engines.
var groups = [][]string{{"ro", "rw"}, {"noexec", "exec"}, {"nosuid", "suid"}, {"noatime", "atime", "strictatime"}}

// values are the options with a value of some file systems; those that are not
// carried out say what every engine says of them.
var values = map[string]map[string]bool{
	"tmpfs":   {"size": true, "mode": true, "uid": true, "gid": true},
	"devpts":  {"newinstance": false, "ptmxmode": false, "mode": false, "gid": false},
	"cgroup":  {},
	"cgroup2": {"nsdelegate": false, "memory_recursiveprot": false},
}

// fixedValues are the only values of options that are not carried out, where others
// would ask for something.
var fixedValues = map[string]map[string][]string{
	"/dev":   {"mode": {"755", "0755"}, "uid": {"0"}, "gid": {"0"}},
	"devpts": {"ptmxmode": {"666", "0666"}, "mode": {"620", "0620", "600", "0600"}, "gid": {"5"}},
}

var (
	size  = regexp.MustCompile(`^[0-9]{1,18}[kKmMgGtTpPeE%]?$`)
	octal = regexp.MustCompile(`^[0-7]{1,5}$`)
)

// valueFault says what is wrong with the value of an option that has one. at is
// the mount's clean destination.
func valueFault(m specs.Mount, at, name, value string) string {
	of := m.Type
	if at == "/dev" {
		of = at
	}
	known, left := fixedValues[of][name]
	switch {
	case left && !slices.Contains(known, value):
		return "only " + strings.Join(known, " and ") + " is"
	case left, m.Type != "tmpfs":
	case name == "size" && !size.MatchString(value):
		return "wanted is a number of bytes, with k, m, g or % behind it"
	case name == "mode" && !octal.MatchString(value):
		return "wanted is an octal number"
	case name == "uid", name == "gid":
		if id, err := strconv.ParseUint(value, 10, 32); err != nil || id == math.MaxUint32 {
			return "wanted is a number from 0 to 4294967294"
		}
	}
	return ""
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
	at := filepath.Clean(m.Destination)
	switch types, ok := fixed[at]; {
	case bind && m.Source == "":
		faults = append(faults, "a bind mount needs a source")
	case bind:
	case !slices.Contains(fileSystems, m.Type):
		faults = append(faults, fmt.Sprintf("the file system %q is not supported", m.Type))
	case ok && !slices.Contains(types, m.Type):
		faults = append(faults, fmt.Sprintf("the file system %q is not supported there: only %s is, or a bind mount", m.Type, strings.Join(types, " and ")))
	}
	for _, o := range m.Options {
		name, value, hasValue := strings.Cut(o, "=")
		_, known := options[o]
		carried, kept := values[m.Type][name]
		switch {
		case known:
		case !kept || bind:
			faults = append(faults, fmt.Sprintf("the option %q is not supported", o))
		case carried && !hasValue:
			faults = append(faults, fmt.Sprintf("the option %q needs a value", o))
		default:
			if fault := valueFault(m, at, name, value); fault != "" {
				faults = append(faults, fmt.Sprintf("the option %q is not supported: %s", o, fault))
			}
		}
	}
	return faults
}

// told are the options of a mount that the sentry is told.
func told(m specs.Mount) []string {
	var list []string
	for i, o := range m.Options {
		name, _, _ := strings.Cut(o, "=")
		translated, known := options[o]
		switch {
		case known && !superseded(m.Options, i):
			o = translated
		case known || !values[m.Type][name]:
			o = ""
		}
		if o != "" {
			list = append(list, o)
		}
	}
	return list
}

// superseded says whether another option of a list undoes the one at i.
func superseded(list []string, i int) bool {
	of := func(option string) (group int, below bool) {
		for g, names := range groups {
			if slices.Contains(names, option) {
				return g, false
			}
			if name, ok := strings.CutPrefix(option, "r"); ok && slices.Contains(names, name) {
				return g, true
			}
		}
		return -1, false
	}
	group, below := of(list[i])
	if group < 0 {
		return false
	}
	for j, other := range list {
		if g, b := of(other); g == group && (b && !below || b == below && j > i) {
			return true
		}
	}
	return false
}
