package desired

import (
	"cmp"
	"fmt"
	"path"
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

// mostProblems bounds how many problems of one folder a Directory reports that are
// no sandbox's: a large folder of other things must cost nobody much.
const mostProblems = 100

// bounded leaves of sorted problems that are no sandbox's so many of each folder,
// and says how many more there are; most 0: all.
func bounded(ps []Problem, most int) []Problem {
	count := map[string]int{}
	kept := slices.DeleteFunc(ps, func(p Problem) bool {
		if most == 0 || p.Name != "" {
			return false
		}
		dir := path.Dir(p.File)
		count[dir]++
		return count[dir] > most
	})
	for dir, n := range count {
		if n > most {
			kept = append(kept, Problem{File: dir, Message: fmt.Sprintf("and %d more problems in this folder", n-most)})
		}
	}
	return sortProblems(kept)
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
