package mountinfo

import (
	"path"
	"slices"
	"strings"
)

// Layers are the directories that an overlay is made of, or only the one that is
// written to, as the one who mounted it called them. Relative ones mean nothing to
// anybody else, nor do a process's own: all says that there are none. Where a name can
// be read in two ways both are returned, and all is false.
func (m Mount) Layers(upper bool) (dirs []string, all bool) {
	dirs, unsure, all := m.layers(upper)
	return dirs, all && unsure == ""
}

// Unsure is an option of an overlay's that can be read in two ways; empty: there is none.
func (m Mount) Unsure() string {
	_, unsure, _ := m.layers(false)
	return unsure
}

// layers reads what the kernel writes: seq_show_option puts octal numbers for commas,
// spaces and backslashes, which is undone only once the options are apart. Inside of
// that there are backslashes of whoever has mounted it, which differ by option.
func (m Mount) layers(upper bool) (dirs []string, unsure string, all bool) {
	all = true
	for option := range strings.SplitSeq(m.Options, ",") {
		key, value, _ := strings.Cut(option, "=")
		var names []string
		sure := true
		switch key {
		case "upperdir":
			names, sure = upperDir(value)
		case "lowerdir":
			if !upper {
				names, sure = lowerDirs(value)
			}
		case "lowerdir+", "datadir+": // one of each, in which nothing is escaped
			if !upper {
				names = []string{unescape(value)}
			}
		}
		if !sure {
			unsure = option
		}
		for _, dir := range names {
			switch {
			case dir == "": // before a directory with data only, "lower::data"
			case !path.IsAbs(dir), strings.HasPrefix(dir, "/proc/"), strings.HasPrefix(dir, "/dev/fd/"):
				all = false
			default:
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs, unsure, all
}

// upperDir reads a name in which backslashes are taken away, unless it was given by a
// descriptor (since Linux 6.13): then they are its own.
func upperDir(value string) (names []string, sure bool) {
	value = unescape(value)
	names = slices.Compact([]string{value, unquote(value)})
	return names, len(names) == 1
}

// lowerDirs reads names with colons between them. Those in names have a backslash of
// whoever has mounted it, but in Linux 6.5 and 6.6 the kernel's own number, and then
// backslashes are the names'.
func lowerDirs(value string) (names []string, sure bool) {
	const colon, backslash = `\072`, `\134`
	shown := strings.Split(value, ":")
	for i := range shown {
		shown[i] = unescape(shown[i])
	}
	if strings.Contains(value, colon) && !strings.Contains(value, backslash) {
		return shown, true
	}
	text := unescape(value)
	begin := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ':':
			names, begin = append(names, unquote(text[begin:i])), i+1
		}
	}
	names = append(names, unquote(text[begin:]))
	// What is escaped needlessly, or is itself a backslash, may be a name's.
	rest := strings.NewReplacer(`\:`, "", `\,`, "").Replace(text)
	if strings.Contains(value, colon) || strings.Contains(rest, `\`) {
		return append(names, shown...), false
	}
	return names, true
}

// unquote takes away backslashes before other characters.
func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			if i++; i == len(s) {
				break
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
