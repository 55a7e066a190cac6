package desired

import (
	"strings"
	"testing"
	"time"
)

// A file that is written where it is and has become less waits for the settle time
// in which it does not change; one that was renamed into place, or has become more,
// does not.
func TestUnfinishedFilesWait(t *testing.T) {
	const head = "apiVersion: sandboxer/v1\nkind: Sandbox\nmetadata: {name: web}\nspec:\n  hostname: HOST\n  containers:\n"
	one := "  - {name: one, bundle: /b}\n"
	two := one + "  - {name: two, bundle: /b}\n"
	text := func(host, containers string) string { return strings.Replace(head, "HOST", host, 1) + containers }
	whole := text("abcdef", two)
	type look struct {
		at    time.Duration
		ino   uint64
		text  string
		hosts string // hostname and number of containers in force
		count int
		wake  time.Duration
	}
	for name, looks := range map[string][]look{
		"a container less": {{0, 1, whole, "abcdef", 2, 0}, {1, 1, text("abcdef", one), "abcdef", 2, 11},
			{10, 1, text("abcdef", one), "abcdef", 2, 11}, {11, 1, text("abcdef", one), "abcdef", 1, 0}},
		"a value cut off":    {{0, 1, whole, "abcdef", 2, 0}, {1, 1, text("abc", two), "abcdef", 2, 11}, {11, 1, text("abc", two), "abc", 2, 0}},
		"written to its end": {{0, 1, whole, "abcdef", 2, 0}, {1, 1, text("abcdef", one), "abcdef", 2, 11}, {5, 1, text("abcdefg", two), "abcdefg", 2, 0}},
		"goes on changing": {{0, 1, whole, "abcdef", 2, 0}, {1, 1, text("abcdef", one), "abcdef", 2, 11},
			{10, 1, text("abcde", one), "abcdef", 2, 20}, {20, 1, text("abcde", one), "abcde", 1, 0}},
		"empty, then half": {{0, 1, whole, "abcdef", 2, 0}, {1, 1, "", "abcdef", 2, 11}, {2, 1, text("abcdef", one), "abcdef", 2, 12}},
		"longer, and a container less": {{0, 1, whole, "abcdef", 2, 0},
			{1, 1, text(strings.Repeat("a", 60), one), "abcdef", 2, 11}, {11, 1, text(strings.Repeat("a", 60), one), strings.Repeat("a", 60), 1, 0}},
		"longer":  {{0, 1, whole, "abcdef", 2, 0}, {1, 1, text("abcdefgh", two), "abcdefgh", 2, 0}},
		"renamed": {{0, 1, whole, "abcdef", 2, 0}, {1, 2, text("abc", one), "abc", 1, 0}},
	} {
		var s state
		start := time.Unix(1000, 0)
		for _, l := range looks {
			sc := world{"w.yaml": l.text}.look(start.Add(l.at))
			for i := range sc.files {
				sc.files[i].stamp = stamp{dev: 1, ino: l.ino, size: int64(len(l.text)), mtime: int64(len(l.text))}
			}
			out := decide(rules{settle: 10, guard: 1}, s, sc)
			s = out.state
			web := out.set.Sandboxes["web"]
			wake := time.Duration(0)
			if !out.wake.IsZero() {
				wake = out.wake.Sub(start)
			}
			if web == nil || web.Spec.Hostname != l.hosts || len(web.Spec.Containers) != l.count || wake != l.wake {
				t.Errorf("%s: at %d it is %+v, and looked at again at %d; want %+v", name, l.at, web, wake, l)
			}
		}
	}
}
