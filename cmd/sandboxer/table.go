package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// columns is how wide a table may be: as its terminal is, or else as $COLUMNS says;
// 0: as wide as it takes, for who reads no screen.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok && terminal(f) {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
		return 80
	}
	n, _ := strconv.Atoi(os.Getenv("COLUMNS")) // what is no number is none
	return max(n, 0)
}

// lastMin is what the last column gets at least: columns before it are cut
// where they would leave less.
const lastMin = 20

// column is one column of a table.
type column struct {
	title string
	least int // its width at least where lines are still to come
	most  int // what is longer is cut; 0: never
	// whole: what is longer than the rows were that there was room made for is not
	// cut either, but moves what follows.
	whole bool
}

// table writes rows whose last column takes what the others leave.
type table struct {
	w       io.Writer
	width   int // what it fits into; 0: nothing is cut or goes on in further lines
	columns []column
	widths  []int
	// wide leaves everything at its full length; wrap goes on in further
	// lines instead of cutting the last column.
	wide, wrap bool
	// grows says that lines are still to come when fit is called.
	grows bool
}

// fit makes room for rows. Later rows that need more are cut.
func (t *table) fit(rows [][]string) {
	t.widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		w := utf8.RuneCountInString(c.title)
		if t.grows {
			w = max(w, c.least)
		}
		for _, r := range rows {
			w = max(w, utf8.RuneCountInString(r[i]))
		}
		if c.most > 0 && !t.whole() {
			w = min(w, c.most)
		}
		t.widths[i] = w
	}
}

// whole says that nothing is cut.
func (t *table) whole() bool { return t.wide || t.width == 0 }

// head writes the titles.
func (t *table) head() error {
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	return t.row(titles)
}

// row writes one row.
func (t *table) row(cells []string) error {
	var b strings.Builder
	used := 0
	last := len(cells) - 1
	for i, cell := range cells[:last] {
		cell = printable(cell)
		if !t.whole() && !t.columns[i].whole {
			cell = cut(cell, t.widths[i])
		}
		b.WriteString(cell)
		width := utf8.RuneCountInString(cell)
		pad := max(t.widths[i]-width, 0) + 2
		b.WriteString(strings.Repeat(" ", pad))
		used += width + pad
	}
	text := printable(localTimes(strings.Join(strings.Fields(cells[last]), " ")))
	room := max(t.width-used, lastMin)
	switch {
	case t.whole():
		b.WriteString(text)
	case t.wrap:
		b.WriteString(strings.Join(wrapText(text, room), "\n"+strings.Repeat(" ", used)))
	default:
		b.WriteString(cut(text, room))
	}
	_, err := io.WriteString(t.w, strings.TrimRight(b.String(), " ")+"\n")
	return err
}

// say writes to stderr. All that commands say goes this way, as it may repeat what
// others have named.
func (c *cli) say(format string, args ...any) {
	_, _ = io.WriteString(c.stderr, printableLines(localTimes(fmt.Sprintf(format, args...)))+"\n") // there is nobody else to tell
}

// nextTry is where the daemon says in UTC when it tries again.
var nextTry = regexp.MustCompile(`next try at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)`)

// localTimes has such times as all others are shown: as the local time, with the
// date if it is another day's.
func localTimes(s string) string {
	return nextTry.ReplaceAllStringFunc(s, func(found string) string {
		words, at := found[:len("next try at ")], found[len("next try at "):]
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return found
		}
		return words + clock(t)
	})
}

// clock is a time of today, or else with its date.
func clock(t time.Time) string {
	t = t.Local()
	if t.Format(time.DateOnly) == time.Now().Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// printable puts question marks in the place of what would command a terminal in a
// text that others may have written, such as a file's name.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = printable(strings.ReplaceAll(l, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// cut shortens s to n characters, the last of which says so.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// wrapText breaks s at spaces into lines of at most n characters; a longer word
// is broken too.
func wrapText(s string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		for {
			have := utf8.RuneCountInString(line)
			if have > 0 && have+1+utf8.RuneCountInString(word) <= n {
				line += " " + word
				break
			}
			if have > 0 {
				lines = append(lines, line)
				line = ""
			}
			if utf8.RuneCountInString(word) <= n {
				line = word
				break
			}
			r := []rune(word)
			lines = append(lines, string(r[:n]))
			word = string(r[n:])
		}
	}
	return append(lines, line)
}
