package desired

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Bounds of one document after its aliases are expanded. A manifest comes
// nowhere near them; a file made to exhaust memory does at once.
const (
	maxNodes = 50_000
	maxDepth = 64
)

// expander replaces aliases and merge keys by what they stand for, so that
// all later code sees a plain tree. Nodes keep the line they were written on.
type expander struct {
	nodes  int
	open   map[*yaml.Node]bool // anchors being expanded, to find cycles
	faults []fault
}

// fault is a problem that has no file and name yet.
type fault struct {
	line    int
	path    string
	message string
	missing bool // something is not there, perhaps because what is there is wrong
}

// expand returns a tree of its own, or the error that makes the document
// unreadable as a whole.
func (e *expander) expand(n *yaml.Node, path string, depth int) (*yaml.Node, error) {
	e.nodes++
	if e.nodes > maxNodes || depth > maxDepth {
		return nil, &fault{line: n.Line, path: path, message: fmt.Sprintf("too large: a document has at most %d values, %d levels deep, aliases expanded", maxNodes, maxDepth)}
	}
	if n.Kind == yaml.AliasNode {
		if e.open[n.Alias] {
			return nil, &fault{line: n.Line, path: path, message: fmt.Sprintf("the alias *%s contains itself", n.Value)}
		}
		return e.expand(n.Alias, path, depth+1)
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value, Style: n.Style, Line: n.Line, Column: n.Column}
	if n.Anchor != "" {
		e.open[n] = true
		defer delete(e.open, n)
	}
	if n.Kind == yaml.MappingNode {
		return out, e.mapping(n, out, path, depth)
	}
	for i, c := range n.Content {
		x, err := e.expand(c, fmt.Sprintf("%s[%d]", path, i), depth+1)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, x)
	}
	return out, nil
}

// mapping expands the pairs of n into out, and reports keys that stand twice.
// What a merge key brings in gives way to what the mapping says itself.
func (e *expander) mapping(n, out *yaml.Node, path string, depth int) error {
	lines := map[string]int{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := e.expand(n.Content[i], path, depth+1)
		if err != nil {
			return err
		}
		if key.Tag == "!!merge" {
			merges = append(merges, n.Content[i+1])
			continue
		}
		at := join(path, key.Value)
		if first, dup := lines[key.Value]; dup && key.Kind == yaml.ScalarNode {
			e.faults = append(e.faults, fault{line: key.Line, path: at, message: fmt.Sprintf("duplicate key: it stands on line %d already", first)})
			continue
		}
		lines[key.Value] = key.Line
		val, err := e.expand(n.Content[i+1], at, depth+1)
		if err != nil {
			return err
		}
		out.Content = append(out.Content, key, val)
	}
	for _, m := range merges {
		if err := e.merge(m, out, lines, path, depth); err != nil {
			return err
		}
	}
	return nil
}

// merge adds the pairs of src (a mapping, or a list of them) whose keys are
// not in seen.
func (e *expander) merge(src, out *yaml.Node, seen map[string]int, path string, depth int) error {
	x, err := e.expand(src, path, depth+1)
	if err != nil {
		return err
	}
	sources := []*yaml.Node{x}
	if x.Kind == yaml.SequenceNode {
		sources = x.Content
	}
	for _, s := range sources {
		if s.Kind != yaml.MappingNode {
			e.faults = append(e.faults, fault{line: src.Line, path: path, message: "a merge key (<<) takes a mapping or a list of mappings"})
			return nil
		}
		for i := 0; i+1 < len(s.Content); i += 2 {
			k := s.Content[i]
			if _, has := seen[k.Value]; has {
				continue
			}
			seen[k.Value] = k.Line
			out.Content = append(out.Content, k, s.Content[i+1])
		}
	}
	return nil
}

// Error makes a fault the error that ends the reading of a document.
func (f *fault) Error() string { return f.message }

// join appends a key to a field path. Keys that are not plain words stand in
// brackets, as in metadata.labels[app/tier].
func join(path, key string) string {
	plain := key != ""
	for _, r := range key {
		plain = plain && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}
	switch {
	case !plain:
		return path + "[" + clip(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// clip keeps what is quoted in a message short and on one line.
func clip(s string) string {
	const most = 80
	out := []rune{}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			r = '?'
		}
		if len(out) == most {
			return string(out) + "…"
		}
		out = append(out, r)
	}
	return string(out)
}
