package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// tableWidth is what a table fits into, whatever the terminal.
const tableWidth = 80

// lastMin is what the last column gets at least: columns before it are cut
// where they would leave less.
const lastMin = 20

// column is one column of a table.
type column struct {
	title string
	least int // its width at least where lines are still to come
	most  int // what is longer is cut; 0: never
}

// table writes rows whose last column takes what the others leave.
type table struct {
	w       io.Writer
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
		if c.most > 0 && !t.wide {
			w = min(w, c.most)
		}
		t.widths[i] = w
	}
}

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
		if !t.wide {
			cell = cut(cell, t.widths[i])
		}
		b.WriteString(cell)
		pad := max(t.widths[i]-utf8.RuneCountInString(cell), 0) + 2
		b.WriteString(strings.Repeat(" ", pad))
		used += t.widths[i] + 2
	}
	text := strings.Join(strings.Fields(cells[last]), " ")
	room := max(tableWidth-used, lastMin)
	switch {
	case t.wide:
		b.WriteString(text)
	case t.wrap:
		b.WriteString(strings.Join(wrapText(text, room), "\n"+strings.Repeat(" ", used)))
	default:
		b.WriteString(cut(text, room))
	}
	_, err := io.WriteString(t.w, strings.TrimRight(b.String(), " ")+"\n")
	return err
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
