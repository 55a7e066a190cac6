package oci

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// verdict is what becomes of a property. One that is decided holds for all
// below it; of one that is parted, each part is decided by itself.
type verdict int

const (
	// parted: see what lies below.
	parted verdict = iota + 1
	// carried out, as it says or within what check lets pass.
	carried
	// left out: what it asks for is the sandbox's business, or is so in any case.
	left
	// refused unless it asks for nothing.
	refused
)

type rule struct {
	verdict
	why string // of what is refused
}

const (
	noPlatform = "is for another platform"
	noMeaning  = "is not supported: gVisor has no such thing"
	noLimits   = "is not taken from a bundle: say resources.limits in the manifest"
)

// rules hold every property of the specification up to version 1.3, by its
// path; "[]" is each element of a list.
var rules = map[string]rule{
	"ociVersion":  {carried, ""},
	"hostname":    {carried, ""},
	"domainname":  {refused, noMeaning},
	"annotations": {carried, ""},
	"hooks":       {carried, ""}, // see actuator's withBundle
	"solaris":     {refused, noPlatform},
	"windows":     {refused, noPlatform},
	"vm":          {refused, noPlatform},
	"zos":         {refused, noPlatform},
	"freebsd":     {refused, noPlatform},

	"root":          {parted, ""},
	"root.path":     {carried, ""},
	"root.readonly": {carried, ""},

	"mounts":               {parted, ""},
	"mounts[].destination": {carried, ""},
	"mounts[].type":        {carried, ""},
	"mounts[].source":      {carried, ""},
	"mounts[].options":     {carried, ""},
	"mounts[].uidMappings": {refused, "is not supported: every ID of a sandbox means itself"},
	"mounts[].gidMappings": {refused, "is not supported: every ID of a sandbox means itself"},

	"process":                          {parted, ""},
	"process.terminal":                 {carried, ""},
	"process.consoleSize":              {left, ""}, // whoever attaches says it
	"process.user":                     {parted, ""},
	"process.user.uid":                 {carried, ""},
	"process.user.gid":                 {carried, ""},
	"process.user.umask":               {carried, ""},
	"process.user.additionalGids":      {carried, ""},
	"process.user.username":            {refused, noPlatform},
	"process.args":                     {carried, ""},
	"process.commandLine":              {refused, noPlatform},
	"process.env":                      {carried, ""},
	"process.cwd":                      {carried, ""},
	"process.capabilities":             {parted, ""},
	"process.capabilities.bounding":    {carried, ""},
	"process.capabilities.effective":   {carried, ""},
	"process.capabilities.inheritable": {carried, ""},
	"process.capabilities.permitted":   {carried, ""},
	"process.capabilities.ambient":     {carried, ""},
	"process.rlimits":                  {carried, ""},
	"process.noNewPrivileges":          {carried, ""},
	"process.apparmorProfile":          {refused, noMeaning},
	"process.oomScoreAdj":              {carried, ""},
	"process.scheduler":                {refused, noMeaning},
	"process.selinuxLabel":             {refused, noMeaning},
	"process.ioPriority":               {refused, noMeaning},
	"process.execCPUAffinity":          {refused, noMeaning},

	"linux":                             {parted, ""},
	"linux.uidMappings":                 {refused, "is not supported: every ID of a sandbox means itself"},
	"linux.gidMappings":                 {refused, "is not supported: every ID of a sandbox means itself"},
	"linux.sysctl":                      {refused, noMeaning},
	"linux.resources":                   {parted, ""},
	"linux.resources.devices":           {left, ""}, // a sandbox sees none of the host's
	"linux.resources.memory":            {refused, noLimits},
	"linux.resources.cpu":               {refused, noLimits},
	"linux.resources.pids":              {refused, noLimits},
	"linux.resources.blockIO":           {refused, noLimits},
	"linux.resources.hugepageLimits":    {refused, noLimits},
	"linux.resources.network":           {refused, noLimits},
	"linux.resources.rdma":              {refused, noLimits},
	"linux.resources.unified":           {refused, noLimits},
	"linux.cgroupsPath":                 {left, ""}, // the sandbox has one
	"linux.namespaces":                  {carried, ""},
	"linux.devices":                     {refused, noMeaning},
	"linux.netDevices":                  {refused, noMeaning},
	"linux.seccomp":                     {parted, ""},
	"linux.seccomp.defaultAction":       {carried, ""},
	"linux.seccomp.defaultErrnoRet":     {carried, ""},
	"linux.seccomp.architectures":       {left, ""}, // there is one
	"linux.seccomp.flags":               {carried, ""},
	"linux.seccomp.listenerPath":        {refused, noMeaning},
	"linux.seccomp.listenerMetadata":    {refused, noMeaning},
	"linux.seccomp.syscalls":            {parted, ""},
	"linux.seccomp.syscalls[].names":    {carried, ""},
	"linux.seccomp.syscalls[].action":   {carried, ""},
	"linux.seccomp.syscalls[].errnoRet": {carried, ""},
	"linux.seccomp.syscalls[].args":     {carried, ""},
	"linux.rootfsPropagation":           {carried, ""},
	"linux.maskedPaths":                 {carried, ""},
	"linux.readonlyPaths":               {carried, ""},
	"linux.mountLabel":                  {refused, noMeaning},
	"linux.intelRdt":                    {refused, noMeaning},
	"linux.memoryPolicy":                {refused, noMeaning},
	"linux.personality":                 {refused, noMeaning},
	"linux.timeOffsets":                 {refused, noMeaning},
}

// undone are what a specification, as JSON has it, asks for and the rules
// refuse or do not know.
func undone(spec map[string]any) (faults []string) {
	walk(spec, "", "", &faults)
	return faults
}

// walk goes through value, which is at path: at where it says so in the file,
// at in the rules.
func walk(value any, path, at string, faults *[]string) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			judge(v[key], below(path, key), below(at, key), faults)
		}
	case []any:
		for i, e := range v {
			walk(e, fmt.Sprintf("%s[%d]", path, i), at+"[]", faults)
		}
	}
}

func judge(value any, path, at string, faults *[]string) {
	switch r, known := rules[at]; {
	case nothing(value):
	case !known:
		*faults = append(*faults, path+" is not supported: no property of that name is known here")
	case r.verdict == refused:
		*faults = append(*faults, path+" "+r.why)
	case r.verdict == parted:
		walk(value, path, at, faults)
	}
}

// nothing says whether a value asks for nothing, present or not.
func nothing(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return !slices.ContainsFunc(slices.Collect(maps.Values(v)), func(e any) bool { return !nothing(e) })
	}
	return false
}

func below(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }
