package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"sandboxer/desired"
)

const target = "../../docs/manifest.md"

func TestPageIsUpToDate(t *testing.T) {
	want, err := page()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatal("docs/manifest.md is not what the types say: run go run ./internal/docgen >docs/manifest.md")
	}
}

// TestFields: every field of the schema stands in a table, and every meaning
// belongs to a field.
func TestFields(t *testing.T) {
	types, err := schemaTypes()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for name, s := range types {
		if s.Properties == nil {
			continue
		}
		if !strings.Contains(prose, "\n{{"+name+"}}\n") {
			t.Errorf("prose.md has no table of %s", name)
		}
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			known[name+"."+p.Key] = true
		}
	}
	for name := range fields {
		if !known[name] {
			t.Errorf("fields.go speaks of %s, which is no field", name)
		}
	}
}

// TestLater: what the page calls not supported yet is rejected as that.
func TestLater(t *testing.T) {
	for _, l := range later {
		for _, f := range l.fields {
			said := problems(l.yaml(f))
			if !strings.Contains(said, "not supported yet") {
				t.Errorf("%s %s: %q", l.where, f, said)
			}
		}
	}
}

// TestExamples: every manifest of the page is accepted.
func TestExamples(t *testing.T) {
	examples := regexp.MustCompile("(?s)```yaml\n(apiVersion.*?)```").FindAllStringSubmatch(prose, -1)
	if len(examples) == 0 {
		t.Fatal("prose.md holds no example")
	}
	for _, e := range examples {
		if said := problems(e[1]); said != "" {
			t.Errorf("%s\nin:\n%s", said, e[1])
		}
	}
}

func problems(text string) string {
	var lines []string
	for _, d := range desired.Decode("x.yaml", []byte(text)) {
		for _, p := range d.Problems {
			lines = append(lines, p.String())
		}
	}
	return strings.Join(lines, "\n")
}
