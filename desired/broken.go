package desired

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// broken reports a document that is no YAML. Its name is guessed from the
// text, so that the error can show at the sandbox it concerns.
func (c chunk) broken(file string, err error) Document {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := regexp.MustCompile(`^line (\d+): (.*)$`).FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // 0 as well where it is beyond an int
		message = m[2]
		if parserError(message) {
			line++ // the library counts these lines from 0
		}
	}
	line = c.clamp(line)
	p := Problem{File: file, Line: c.before + line, Message: "not valid YAML: " + c.tab(line) + message, Name: guessName(c.text)}
	return Document{Name: p.Name, Line: p.Line, Problems: []Problem{p}}
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
		"did not find expected <", "did not find expected node content", "did not find expected key",
		"did not find expected '-' indicator", "did not find expected ',' or", "found duplicate %",
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

// guessName finds "name:" at the beginning of "metadata:", in block or flow
// style.
func guessName(text []byte) string {
	m := regexp.MustCompile(`(?m)^metadata:(?:[ \t]*\{|[ \t]*\r?\n(?:[ \t]*#.*\n)*[ \t]+)[ \t]*name:[ \t]*["']?([a-z0-9-]+)`).FindSubmatch(text)
	if m == nil {
		return ""
	}
	return string(m[1])
}
