package api

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sandboxer/internal/events"
)

type schema struct {
	Properties map[string]any
	Required   []string
}

type operation struct {
	Parameters []struct{ Name, In string }
}

func document(t *testing.T) (paths map[string]map[string]operation, schemas map[string]schema) {
	t.Helper()
	var doc struct {
		Paths      map[string]map[string]operation
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Paths, doc.Components.Schemas
}

func TestDocumentListsExactlyTheRoutes(t *testing.T) {
	paths, _ := document(t)
	var listed, served []string
	for path, methods := range paths {
		for method, op := range methods {
			line := strings.ToUpper(method) + " " + path
			var query []string
			for _, p := range op.Parameters {
				if p.In == "query" {
					query = append(query, p.Name)
				}
			}
			slices.Sort(query)
			listed = append(listed, line+" "+strings.Join(query, ","))
		}
	}
	for _, r := range (&Server{}).routes() {
		slices.Sort(r.query)
		served = append(served, r.method+" "+r.path+" "+strings.Join(r.query, ","))
	}
	slices.Sort(listed)
	slices.Sort(served)
	if !slices.Equal(listed, served) {
		t.Errorf("listed:\n%s\nserved:\n%s", strings.Join(listed, "\n"), strings.Join(served, "\n"))
	}
}

// fields returns the JSON names of a struct's fields and those always there.
func fields(t reflect.Type) (all, always []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			a, b := fields(f.Type)
			all, always = append(all, a...), append(always, b...)
			continue
		}
		if name == "-" || name == "" {
			continue
		}
		all = append(all, name)
		if !strings.Contains(opts, "omitempty") {
			always = append(always, name)
		}
	}
	return all, always
}

func TestDocumentDescribesTheTypes(t *testing.T) {
	_, schemas := document(t)
	for name, v := range map[string]any{
		"Sandbox": Sandbox{}, "Status": Status{}, "Condition": Condition{}, "Container": Container{}, "List": List{},
		"Description": Description{}, "Action": Action{}, "EventList": EventList{}, "Plan": Plan{},
		"Confirmation": Confirmation{}, "Version": Version{}, "Error": Error{}, "PlanRequest": PlanRequest{},
		"Event": events.Event{}, "ExecRequest": ExecRequest{}, "ExecUser": ExecUser{}, "ExecStarted": ExecStarted{},
		"ExecEnd": ExecEnd{}, "KillRequest": KillRequest{}, "ProcessList": ProcessList{}, "Process": Process{},
		"Exit": Exit{}, "Stats": Stats{}, "ContainerStats": ContainerStats{}, "CheckpointRequest": CheckpointRequest{}, "Checkpoint": Checkpoint{},
		"DebugState": DebugState{}, "DebugSettings": DebugSettings{}, "DebugGrant": DebugGrant{}, "DebugCounts": DebugCounts{}, "DebugLoop": DebugLoop{},
		"DebugSandbox": DebugSandbox{}, "DebugWork": DebugWork{}, "DebugRetry": DebugRetry{}, "DebugRecord": DebugRecord{}, "DebugContainer": DebugContainer{},
	} {
		all, always := fields(reflect.TypeOf(v))
		switch name {
		case "Event": // its JSON adds one, see events.Event.Took
			all = append(all, "took")
		case "PlanRequest": // what a client may leave out
			always = nil
		}
		var listed []string
		for p := range schemas[name].Properties {
			listed = append(listed, p)
		}
		required := slices.Clone(schemas[name].Required)
		for _, s := range [][]string{all, always, listed, required} {
			slices.Sort(s)
		}
		if !slices.Equal(all, listed) || !slices.Equal(always, required) {
			t.Errorf("%s: the document says %v, required %v; the type %v, always there %v", name, listed, required, all, always)
		}
	}
}

func TestDocumentRefersToWhatIsThere(t *testing.T) {
	_, schemas := document(t)
	for _, part := range strings.Split(string(openAPI), `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if _, ok := schemas[name]; !ok {
			t.Errorf("there is no schema %q", name)
		}
	}
	if code, body := request(t, &fake{}, "GET", "/openapi.json", ""); code != 200 || body != string(openAPI) {
		t.Errorf("served with %d", code)
	}
}

// The manual's table has every route.
func TestManualListsTheRoutes(t *testing.T) {
	manual, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range (&Server{}).routes() {
		request := r.method + " " + strings.ReplaceAll(r.path, "{name}", "NAME")
		if !strings.Contains(string(manual), "\n| `"+request+"`") && !strings.Contains(string(manual), "\n| `"+request+"[") {
			t.Errorf("docs/cli.md does not say what %s answers", request)
		}
		_, row, _ := strings.Cut(string(manual), "\n| `"+request)
		row, _, _ = strings.Cut(row, "\n")
		for _, name := range r.query {
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(row) {
				t.Errorf("docs/cli.md does not say that %s takes %s", request, name)
			}
		}
	}
}
