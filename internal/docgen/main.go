// Command docgen writes docs/manifest.md, the reference of every manifest
// field: names, types and closed lists come from desired.Schema and so from
// the Go types, their meaning from this package's table, the rest from
// prose.md. Nothing imports it; run it at the top of the repository:
//
//	go run ./internal/docgen >docs/manifest.md
//
// A test fails while the file is not up to date, a field has no meaning here,
// or a meaning has no field.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/invopop/jsonschema"

	"sandboxer/desired"
)

//go:embed prose.md
var prose string

func main() {
	text, err := page()
	if err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

// page is the whole document: prose with each "{{TYPE}}" line replaced by the
// table of that type's fields, and "{{later}}" by what is not supported yet.
func page() (string, error) {
	types, err := schemaTypes()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(prose) {
		name, isTable := strings.CutPrefix(strings.TrimSpace(line), "{{")
		name = strings.TrimSuffix(name, "}}")
		switch {
		case !isTable:
			b.WriteString(line)
		case name == "later":
			writeLater(&b)
		case types[name] == nil:
			return "", fmt.Errorf("prose.md names the type %s, which the schema lacks", name)
		default:
			if err := writeTable(&b, name, types[name]); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

// schemaTypes are the schema's object types by name; "Manifest" is the
// document itself.
func schemaTypes() (map[string]*jsonschema.Schema, error) {
	text, err := desired.Schema()
	if err != nil {
		return nil, err
	}
	s := &jsonschema.Schema{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	types := map[string]*jsonschema.Schema{"Manifest": s}
	for name, t := range s.Definitions {
		types[name] = t
	}
	return types, nil
}

func writeTable(b *strings.Builder, name string, t *jsonschema.Schema) error {
	b.WriteString("| field | type | default | change | meaning |\n|---|---|---|---|---|\n")
	required := map[string]bool{}
	for _, r := range t.Required {
		required[r] = true
	}
	for p := t.Properties.Oldest(); p != nil; p = p.Next() {
		f, ok := fields[name+"."+p.Key]
		if !ok {
			return fmt.Errorf("fields.go says nothing of %s.%s", name, p.Key)
		}
		class, ok := desired.ClassOf(name, p.Key)
		if ok && f.change != string(class) && (f.change == inPlace || f.change == container || f.change == sandbox) {
			return fmt.Errorf("fields.go says of %s.%s that it changes %q; desired/class.go says %q", name, p.Key, f.change, class)
		}
		def := f.byDefault
		switch {
		case required[p.Key]:
			def = "*required*"
		case def == "":
			def = "–"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", p.Key, typeOf(p.Value), def, f.change, f.meaning)
	}
	return nil
}

// typeOf says what a value looks like in a manifest.
func typeOf(s *jsonschema.Schema) string {
	switch {
	case s.Ref != "":
		return "[" + s.Ref[strings.LastIndex(s.Ref, "/")+1:] + "](#" + strings.ToLower(s.Ref[strings.LastIndex(s.Ref, "/")+1:]) + ")"
	case len(s.Enum) > 0:
		var values []string
		for _, v := range s.Enum {
			if v == "" {
				continue // the same as leaving it out
			}
			values = append(values, fmt.Sprintf("`%v`", v))
		}
		return strings.Join(values, ", ")
	case len(s.OneOf) > 0:
		return "quantity"
	case strings.Contains(s.Pattern, "µs"):
		return "duration"
	case s.Type == "array":
		return "list of " + typeOf(s.Items)
	case s.Type == "object":
		return "mapping of strings"
	}
	return s.Type
}

func writeLater(b *strings.Builder) {
	b.WriteString("| where | fields and values |\n|---|---|\n")
	for _, l := range later {
		var names []string
		for _, n := range l.fields {
			names = append(names, "`"+n+"`")
		}
		fmt.Fprintf(b, "| %s | %s |\n", l.where, strings.Join(names, ", "))
	}
}
