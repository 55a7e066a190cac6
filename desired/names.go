package desired

import (
	"fmt"
	"path"
	"strings"
)

const (
	labelRule = "at most 63 lower-case letters, digits and \"-\", with a letter or digit at both ends"
	// The longest name that Linux takes for a host.
	maxHostname = 64
)

// isDNSLabel follows RFC 1123.
func isDNSLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func isHostname(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !isDNSLabel(part) {
			return false
		}
	}
	return len(s) <= maxHostname
}

// labelKeyFault says what is wrong with a label's key, "" for nothing. As in
// Kubernetes: an optional DNS name and "/", then a word.
func labelKeyFault(key string) string {
	word := key
	if prefix, rest, ok := strings.Cut(key, "/"); ok {
		word = rest
		for part := range strings.SplitSeq(prefix, ".") {
			if !isDNSLabel(part) || len(prefix) > 253 {
				return fmt.Sprintf("%q is no DNS name before the \"/\"", clip(prefix))
			}
		}
	}
	if word == "" || !isLabelWord(word) {
		return fmt.Sprintf("%q is no label key: at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends", clip(word))
	}
	return ""
}

// isLabelWord tells what is allowed as a label's value, too: "" among others.
func isLabelWord(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > 63 || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alnum(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// hostPathFault says what is wrong with a path of the host, "" for nothing.
func hostPathFault(p string) string {
	switch {
	case p == "":
		return "required"
	case !path.IsAbs(p):
		return fmt.Sprintf("%q is relative: a path of the host starts with \"/\"", clip(p))
	case hasDotDot(p):
		return fmt.Sprintf("%q contains \"..\": write where it leads", clip(p))
	}
	return pathSizeFault(p)
}

// pathSizeFault keeps to what the kernel takes (PATH_MAX, NAME_MAX).
func pathSizeFault(p string) string {
	if len(p) > 4095 {
		return "too long: a path has at most 4095 bytes"
	}
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > 255 {
			return "too long: a name in a path has at most 255 bytes"
		}
	}
	return ""
}

// isFileName tells a name that names a file in one folder and nothing else.
func isFileName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 255 && !strings.ContainsAny(s, "/\x00")
}

// CapabilityNames lists Linux' capabilities in the order of their numbers.
func CapabilityNames() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
		"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
		"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
		"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
		"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
		"CHECKPOINT_RESTORE",
	}
}
