package desired

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// MaxFileSize bounds a manifest file, in bytes.
const MaxFileSize = 1 << 20

// maxProblems bounds what is reported of one document.
const maxProblems = 200

// Document is one YAML document of a file: accepted or rejected.
type Document struct {
	// Name is metadata.name, "" where it cannot be read.
	Name string
	// Line is where the document's content begins.
	Line int
	// Sandbox is what it declares, nil where it is rejected.
	Sandbox *Sandbox
	// Problems says why it is rejected, every reason found.
	Problems []Problem
	// nameLine is where metadata.name stands; 0: it is not known.
	nameLine int
	// torn says that it does not parse, and that the name is a guess.
	torn bool
	// dependsOn are the lines of spec.dependsOn's entries.
	dependsOn []int
}

// Decode reads every document of a manifest file; data is at most MaxFileSize
// bytes. Documents without content are left out, so that a file of nothing
// but comments gives none. file names the file in Source and Problems; its
// extension .json asks for exactly one JSON object.
//
// Decode sees one file: that a name is declared in two files is for
// Directory and ReadDir to find.
func Decode(file string, data []byte) []Document {
	whole := func(line int, format string, args ...any) []Document {
		return []Document{{Line: line, Problems: []Problem{{File: file, Line: line, Message: fmt.Sprintf(format, args...)}}}}
	}
	if len(data) > MaxFileSize {
		return whole(1, "too large: a manifest file has at most %d bytes", MaxFileSize)
	}
	if filepath.Ext(file) == ".json" && len(bytes.TrimSpace(data)) > 0 {
		if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
			line := 1
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				line += bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
			}
			return whole(line, "not valid JSON: %v", err)
		}
		data = yamlFromJSON(data)
	}
	var docs []Document
	for _, c := range split(data) {
		docs = append(docs, c.decode(file)...)
	}
	return docs
}

// chunk is the text of one document, or of more where "..." ends them.
type chunk struct {
	text   []byte
	before int // lines that precede it in the file
}

// split cuts data before every "---" that follows content. Each document is
// parsed by itself, so that a syntax error takes down no other.
func split(data []byte) []chunk {
	var chunks []chunk
	var cur chunk
	line, content := 0, false
	for rest := data; len(rest) > 0; line++ {
		text := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			text = rest[:i+1]
		}
		rest = rest[len(text):]
		marker := bytes.HasPrefix(text, []byte("---")) && (len(text) == 3 || strings.IndexByte(" \t\r\n", text[3]) >= 0)
		if marker && content {
			chunks = append(chunks, cur)
			cur, content = chunk{before: line}, false
		}
		cur.text = append(cur.text, text...)
		if marker {
			text = text[3:]
		}
		// Comments and directives (%YAML) belong to the document they precede.
		if t := bytes.TrimSpace(text); len(t) > 0 && t[0] != '#' && (t[0] != '%' || marker) {
			content = true
		}
	}
	return append(chunks, cur)
}

func (c chunk) decode(file string) []Document {
	var docs []Document
	for dec := yaml.NewDecoder(bytes.NewReader(c.text)); ; {
		var root yaml.Node
		err := dec.Decode(&root)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			return append(docs, c.broken(file, err))
		}
		if len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
			continue
		}
		docs = append(docs, c.document(file, root.Content[0]))
	}
}

func (c chunk) document(file string, n *yaml.Node) Document {
	doc := Document{Line: c.before + n.Line}
	if line := nameLine(n); line > 0 {
		doc.nameLine = c.before + line
	}
	sandbox, name, lines, faults := decodeNode(file, n)
	doc.Name = name
	if sandbox != nil {
		for i := range sandbox.Spec.DependsOn {
			doc.dependsOn = append(doc.dependsOn, c.before+lines[dependsOnPath(i)])
		}
	}
	for i, f := range faults {
		if i == maxProblems {
			doc.Problems = append(doc.Problems, Problem{File: file, Line: doc.Line, Name: name,
				Message: fmt.Sprintf("too much is wrong: %d problems, of which %d are listed", len(faults), maxProblems)})
			break
		}
		doc.Problems = append(doc.Problems, Problem{File: file, Line: c.before + f.line, Path: f.path, Message: f.message, Name: name})
	}
	if doc.Problems = sortProblems(doc.Problems); len(doc.Problems) == 0 {
		doc.Sandbox = sandbox
	}
	return doc
}

// nameLine is the line of a document's metadata.name; 0: it has none.
func nameLine(n *yaml.Node) int {
	if v := child(child(n, "metadata"), "name"); v != nil {
		return v.Line
	}
	return 0
}

// decodeNode returns the sandbox that n declares, the name it gives, the line
// of each field, and all that is wrong; lines count from the node's own text.
func decodeNode(file string, n *yaml.Node) (s *Sandbox, name string, lines map[string]int, faults []fault) {
	e := expander{open: map[*yaml.Node]bool{}}
	tree, err := e.expand(n, "", 0)
	if f := (*fault)(nil); errors.As(err, &f) {
		return nil, nameOf(n), nil, append(e.faults, *f)
	}
	name = nameOf(tree)
	if fs := envelope(tree); len(fs) > 0 {
		return nil, name, nil, append(e.faults, fs...)
	}
	w := walker{lines: map[string]int{"": n.Line}}
	var m Manifest
	err = w.decode(tree, &m)
	faults = append(e.faults, w.faults...)
	if err != nil {
		return nil, name, nil, append(faults, fault{line: n.Line, message: err.Error()})
	}
	s = &Sandbox{Name: m.Metadata.Name, Labels: m.Metadata.Labels, Source: file, Spec: m.Spec}
	setDefaults(s)
	v := checker{}
	v.sandbox(s)
	return s, name, w.lines, append(faults, w.place(v.faults, faults)...)
}

// decode decodes what is right in the tree into the struct that v points to.
func (w *walker) decode(tree *yaml.Node, v any) error {
	right, ok := w.value(tree, reflect.TypeOf(v), "")
	if !ok {
		return nil
	}
	b, err := json.Marshal(right)
	if err != nil {
		return fmt.Errorf("writing the document as JSON: %w", err)
	}
	// Strict once more: a field that the walk let through by mistake, or a
	// value that its type does not take, must not become a silent zero.
	return sigsyaml.UnmarshalStrict(yamlSafe(b), v)
}

// place gives each of found the line of its field, or of the nearest field
// around it that is written down. Dropped are those that follow from a field
// already known to be wrong: at or below it, or missing where it stands.
func (w *walker) place(found, known []fault) []fault {
	wrong, around := map[string]bool{}, map[string]bool{}
	for _, k := range known {
		wrong[k.path] = true
		for at := range upward(k.path) {
			around[at] = true
		}
	}
	var out []fault
	for _, f := range found {
		follows := f.missing && around[f.path]
		for at := range upward(f.path) {
			follows = follows || wrong[at]
			if line, ok := w.lines[at]; ok && f.line == 0 {
				f.line = line
			}
		}
		if !follows {
			out = append(out, f)
		}
	}
	return out
}

// upward yields a field path, that of the field around it, and so on to "".
func upward(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(path) && path != "" {
			path = path[:max(0, strings.LastIndexAny(path, ".["))]
		}
	}
}
