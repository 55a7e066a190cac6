package desired

import (
	"bytes"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// Place gives problems of fields that were found after the manifests had been read
// the lines that these stand on, as the files are now, and sorts them.
func Place(problems []Problem) []Problem {
	files := map[string]map[string]map[string]int{}
	for i := range problems {
		p := &problems[i]
		if p.Line > 0 || p.Path == "" {
			continue
		}
		if files[p.File] == nil {
			files[p.File] = linesOf(p.File)
		}
		for at := range upward(p.Path) {
			if line, ok := files[p.File][p.Name][at]; ok {
				p.Line = line
				break
			}
		}
	}
	return sortProblems(problems)
}

// linesOf are the lines of the fields that a file's sandboxes have, by name.
func linesOf(file string) map[string]map[string]int {
	of := map[string]map[string]int{}
	data, err := os.ReadFile(file)
	if err != nil {
		return of // it has gone since
	}
	if filepath.Ext(file) == ".json" {
		data = yamlFromJSON(data)
	}
	for _, c := range split(data) {
		dec := yaml.NewDecoder(bytes.NewReader(c.text))
		for root := (yaml.Node{}); dec.Decode(&root) == nil; root = (yaml.Node{}) {
			if len(root.Content) == 0 {
				continue
			}
			_, name, lines, _ := decodeNode(file, root.Content[0])
			of[name] = map[string]int{}
			for at, line := range lines {
				of[name][at] = c.before + line
			}
		}
	}
	return of
}
