package desired

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/invopop/jsonschema"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Schema returns the JSON Schema (draft 2020-12) of a manifest document, made
// from the Go types. It covers names, types and closed lists; Decode checks
// more.
func Schema() ([]byte, error) {
	r := jsonschema.Reflector{
		Anonymous:      true,
		ExpandedStruct: true,
		Mapper:         schemaOf,
	}
	s := r.Reflect(Manifest{})
	s.Title = "sandboxer manifest"
	s.Description = "One document of a manifest file: a sandbox and the state that it should be in."
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return append(b, '\n'), nil
}

// schemaOf describes the types whose JSON is not what their Go kind says.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	enum := func(values ...any) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Enum: values}
	}
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{
			Type: "string", Description: "A duration such as 30s or 1m30s.",
			Pattern: `^[0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h)([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$`,
		}
	case reflect.TypeFor[resource.Quantity]():
		return &jsonschema.Schema{
			Description: "A quantity such as 500m or 256Mi.",
			OneOf: []*jsonschema.Schema{
				{Type: "string", Pattern: `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$`},
				{Type: "number"},
			},
		}
	case reflect.TypeFor[State]():
		return enum(Running, Paused, Stopped, Suspended, Created)
	case reflect.TypeFor[RestartPolicy]():
		return enum(Always, OnFailure, Never)
	}
	return nil
}
