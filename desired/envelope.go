package desired

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// envelope reports what keeps a document from being one of ours at all. Then
// nothing else is said about it: its fields follow other rules.
func envelope(n *yaml.Node) []fault {
	if n.Kind != yaml.MappingNode {
		return []fault{{line: n.Line, message: fmt.Sprintf("a document must be a mapping with apiVersion, kind, metadata and spec, not %s", describe(n))}}
	}
	var out []fault
	for _, want := range [][2]string{{"apiVersion", APIVersion}, {"kind", Kind}} {
		v := child(n, want[0])
		switch {
		case v == nil:
			out = append(out, fault{line: n.Line, path: want[0], message: fmt.Sprintf("required: must be %q", want[1])})
		case v.Kind != yaml.ScalarNode || v.Value != want[1]:
			out = append(out, fault{line: v.Line, path: want[0], message: fmt.Sprintf("must be %q, not %s", want[1], describe(v))})
		}
	}
	return out
}

// nameOf returns metadata.name where it is text.
func nameOf(n *yaml.Node) string {
	if v := child(child(n, "metadata"), "name"); v != nil && v.Tag == "!!str" {
		return v.Value
	}
	return ""
}

// child returns the value of a mapping's key, nil where there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
