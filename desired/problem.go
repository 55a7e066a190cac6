package desired

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a manifest, and where.
type Problem struct {
	// File is the file or folder, named as Sandbox.Source names files.
	File string `json:"file"`
	// Line counts from 1; 0 where the fault is of the file as a whole.
	Line int `json:"line,omitempty"`
	// Path is the field, such as spec.containers[0].name; "" where the fault
	// is no field's.
	Path string `json:"path,omitempty"`
	// Message says what is wrong, without File, Line and Path.
	Message string `json:"message"`
	// Name is the sandbox that the document declares, where that is known.
	Name string `json:"name,omitempty"`
}

// String returns "file:line: path: what is wrong", without the parts that are
// not known.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	b.WriteString(": " + p.Message)
	return b.String()
}

// sortProblems orders by place and drops exact repetitions.
func sortProblems(ps []Problem) []Problem {
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Message, b.Message),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return slices.Compact(ps)
}
