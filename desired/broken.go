package desired

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// pattern is compiled at its first use: in most manifests nothing is wrong.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

var (
	lineNumber    = pattern(`^line (\d+): (.*)$`)
	unknownAnchor = pattern(`^unknown anchor '(.*)' referenced$`)
	// metadataName is "name:" at the beginning of "metadata:", in block or flow style.
	metadataName = pattern(`(?m)^metadata:(?:[ \t]*\{|[ \t]*\r?\n(?:[ \t]*#.*\n)*[ \t]+)[ \t]*name:[ \t]*["']?([a-z0-9-]+)`)
)

// broken reports a document that is no YAML. Its name is guessed from the
// text, so that the error can show at the sandbox it concerns.
func (c chunk) broken(file string, err error) Document {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := lineNumber().FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // 0 as well where it is beyond an int
		message = m[2]
		if parserError(message) {
			line++ // the library counts these lines from 0
		}
	}
	switch {
	case message == noKey || message == noItem:
		line = c.found(message) // the library names where the block begins
	case line == 0:
		line = c.unnumbered(message)
	}
	line = c.clamp(line)
	why := c.tab(line)
	if why == "" && (message == noKey || message == noItem) {
		why = c.indented(line)
	}
	for _, h := range hints {
		if why == "" && strings.HasPrefix(message, h.of) {
			why = h.why + ": "
		}
	}
	p := Problem{File: file, Line: c.before + line, Message: "not valid YAML: " + why + message, Name: guessName(c.text)}
	return Document{Name: p.Name, Line: p.Line, torn: true, Problems: []Problem{p}}
}

// What the library says of a line that does not go on with the block it is in.
const (
	noKey  = "did not find expected key"
	noItem = "did not find expected '-' indicator"
)

// found gives the line (from 1) at which the library finds an error, which is the
// last of the shortest text that has it.
func (c chunk) found(message string) int {
	lines := bytes.SplitAfter(c.text, []byte("\n"))
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		dec := yaml.NewDecoder(bytes.NewReader(bytes.Join(lines[:i+1], nil)))
		for {
			if err := dec.Decode(new(yaml.Node)); err != nil {
				return strings.HasSuffix(err.Error(), ": "+message)
			}
		}
	})
}

// indented says of a line (from 1) that is in none of the blocks that are begun
// before it how far these are indented; "": it is in one.
func (c chunk) indented(line int) string {
	lines := bytes.Split(c.text, []byte("\n"))
	begin := func(text []byte) int { return len(text) - len(bytes.TrimLeft(text, " ")) }
	least, have := math.MaxInt, begin(lines[line-1])
	deepest := -1
	var open []string
	for i := line - 2; i >= 0 && least > 0; i-- {
		text, at := lines[i], begin(lines[i])
		if rest := bytes.TrimSpace(text); len(rest) == 0 || rest[0] == '#' || at >= least {
			continue
		}
		columns := []int{at}
		if text[at] == '-' {
			columns = []int{at + 1 + begin(text[at+1:]), at}
		}
		for _, at := range columns {
			if at == have && bytes.HasPrefix(lines[line-1][have:], []byte("- ")) && !bytes.HasPrefix(text[at:], []byte("-")) {
				return `its "- " is indented as keys are, and the entries before it otherwise: `
			}
			if at == have {
				return ""
			}
			if at < least {
				least, deepest = at, max(deepest, at)
				open = append(open, strconv.Itoa(at))
			}
		}
	}
	if have > deepest {
		return "" // it begins a block
	}
	slices.Reverse(open)
	return fmt.Sprintf("it is indented by %d, and what was begun before it by %s: ", have, strings.Join(open, ", "))
}

// hints say what mostly leads to an error of the library's.
var hints = []struct{ of, why string }{
	{"mapping values are not allowed", `a value that holds ": " has to be quoted; or the line before lacks a ":" behind its key, or is indented otherwise`},
	{"found character that cannot start any token", `a value that begins with "@", "%" or a backquote has to be quoted`},
	{"found unexpected end of stream", "a quote is not closed"},
	{"did not find expected ',' or", "a bracket is not closed, or a comma is missing"},
	{"did not find expected node content", "a bracket is not closed, or a value is missing"},
	{noKey, "no key can be read: look at quotes and indentation"},
	{noItem, `a list goes on with "- ", indented as before`},
	{"did not find expected alphabetic or numeric", `a value that begins with "*" or "&" has to be quoted`},
	{"could not find expected ':'", `a ":" is missing behind a key`},
	{"unknown anchor", `a value that begins with "*" has to be quoted, or the anchor be set before`},
	{"incomplete UTF-8", "the text is not UTF-8"},
	{"invalid", "the text is not UTF-8"},
	{"control characters", "save it as plain text, in UTF-8"},
}

// unnumbered finds the line of an error for which the library gives none; 0: it
// can't be told.
func (c chunk) unnumbered(message string) int {
	anchor := unknownAnchor().FindStringSubmatch(message)
	for i, line := range bytes.Split(c.text, []byte("\n")) {
		control := func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\r' }
		switch {
		case anchor != nil && bytes.Contains(line, []byte("*"+anchor[1])),
			anchor == nil && (!utf8.Valid(line) || bytes.ContainsFunc(line, control)):
			return i + 1
		}
	}
	return 0
}

// tab says of a line (from 1) that is indented with a tab where that stands,
// which the library's words hide.
func (c chunk) tab(line int) string {
	text := bytes.Split(c.text, []byte("\n"))[line-1]
	indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
	if i := bytes.IndexByte(indent, '\t'); i >= 0 {
		return fmt.Sprintf("column %d is a tab, and tabs can't indent: use spaces: ", i+1)
	}
	return ""
}

// parserError tells the library's parser errors from its scanner errors.
func parserError(message string) bool {
	for _, prefix := range []string{
		"did not find expected <", "did not find expected node content", noKey,
		noItem, "did not find expected ',' or", "found duplicate %",
		"found incompatible YAML", "found undefined tag handle", "found a tab character that violates indentation",
	} {
		if strings.HasPrefix(message, prefix) {
			return true
		}
	}
	return false
}

// clamp keeps a line (from 1) between the first and the last with content: an
// error at the end of the text points behind it.
func (c chunk) clamp(line int) int {
	first, last := 0, 1
	for i, l := range bytes.Split(c.text, []byte("\n")) {
		l = bytes.TrimSpace(l)
		if len(l) == 0 || l[0] == '#' || bytes.Equal(l, []byte("---")) {
			continue
		}
		if first == 0 {
			first = i + 1
		}
		last = i + 1
	}
	return min(max(line, first, 1), last)
}

// guessName is "" where there is none.
func guessName(text []byte) string {
	m := metadataName().FindSubmatch(text)
	if m == nil {
		return ""
	}
	return string(m[1])
}
