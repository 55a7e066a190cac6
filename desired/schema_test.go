package desired

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// The schema says what the types say: every object is closed, and every field
// that Decode knows is in it.
func TestSchema(t *testing.T) {
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Schema     string                    `json:"$schema"`
		Properties map[string]map[string]any `json:"properties"`
		Required   []string                  `json:"required"`
		Closed     *bool                     `json:"additionalProperties"`
		Defs       map[string]struct {
			Properties map[string]map[string]any `json:"properties"`
			Closed     *bool                     `json:"additionalProperties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if s.Schema != "https://json-schema.org/draft/2020-12/schema" || s.Closed == nil || *s.Closed {
		t.Errorf("draft %q, additionalProperties %v", s.Schema, s.Closed)
	}
	if want := []string{"apiVersion", "kind", "metadata", "spec"}; !reflect.DeepEqual(s.Required, want) {
		t.Errorf("required %v, want %v", s.Required, want)
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[Spec](), reflect.TypeFor[Container](), reflect.TypeFor[Volume](), reflect.TypeFor[HostPath](), reflect.TypeFor[EmptyDir](),
		reflect.TypeFor[Limits](), reflect.TypeFor[SecurityContext](), reflect.TypeFor[Metadata](), reflect.TypeFor[EnvSource](), reflect.TypeFor[Lifecycle](),
	} {
		def, ok := s.Defs[typ.Name()]
		if !ok || def.Closed == nil || *def.Closed {
			t.Errorf("%s: defined %v, additionalProperties %v", typ.Name(), ok, def.Closed)
		}
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if def.Properties[name] == nil {
				t.Errorf("%s.%s is missing", typ.Name(), name)
			}
		}
		if len(def.Properties) != typ.NumField() {
			t.Errorf("%s has %d properties, the type %d fields", typ.Name(), len(def.Properties), typ.NumField())
		}
	}
	for place, want := range map[*map[string]any][]any{
		new(s.Defs["Spec"].Properties["state"]):              {"Running", "Paused", "Stopped", "Suspended", "Created"},
		new(s.Defs["Spec"].Properties["runtime"]):            {"gvisor"},
		new(s.Defs["Container"].Properties["restartPolicy"]): {"Always", "OnFailure", "Never"},
		new(s.Defs["Network"].Properties["mode"]):            {"none", "host"},
		new(s.Defs["HostPath"].Properties["type"]):           {"", "Directory", "DirectoryOrCreate", "File", "FileOrCreate"},
		new(s.Properties["kind"]):                            {"Sandbox"},
	} {
		if got := (*place)["enum"]; !reflect.DeepEqual(got, want) {
			t.Errorf("enum %v, want %v", got, want)
		}
	}
	again, err := Schema()
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("two schemas differ (%v)", err)
	}
}
