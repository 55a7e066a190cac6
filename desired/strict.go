package desired

import (
	"bytes"
	"errors"
	"io"

	"go.yaml.in/yaml/v3"
)

// NameOrNumber is text that may be written as an integer, without quotes.
type NameOrNumber string

// Strict decodes the one YAML document of a file that is no manifest, by the
// rules that hold for manifests. v points to a struct of such types as Spec is
// made of; what the file leaves out stays in it as it is. Of what can be decoded,
// check says by path what is wrong with its values. Where there are problems, what v
// holds is not to be used.
func Strict(file string, data []byte, v any, check func(wrong func(path, format string, args ...any))) []Problem {
	whole := chunk{text: data}
	var root, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&root)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = dec.Decode(&more)
	}
	switch {
	case err == nil:
		return []Problem{{File: file, Line: more.Line, Message: "a second document: there is to be one"}}
	case !errors.Is(err, io.EOF):
		return whole.broken(file, err).Problems
	}
	n := root.Content[0]
	e := expander{open: map[*yaml.Node]bool{}}
	tree, err := e.expand(n, "", 0)
	faults := e.faults
	if f := (*fault)(nil); errors.As(err, &f) {
		faults = append(faults, *f)
	} else {
		w := walker{lines: map[string]int{"": n.Line}}
		err := w.decode(tree, v)
		if faults = append(faults, w.faults...); err != nil {
			faults = append(faults, fault{line: n.Line, message: err.Error()})
		} else {
			c := checker{}
			check(c.add)
			faults = append(faults, w.place(c.faults, faults)...)
		}
	}
	var problems []Problem
	for _, f := range faults {
		problems = append(problems, Problem{File: file, Line: f.line, Path: f.path, Message: f.message})
	}
	return sortProblems(problems)
}
