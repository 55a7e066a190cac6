package desired

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Manifest is a document as a user writes it.
type Manifest struct {
	APIVersion string   `json:"apiVersion" jsonschema:"enum=sandboxer/v1"`
	Kind       string   `json:"kind" jsonschema:"enum=Sandbox"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}

// Metadata names a sandbox.
type Metadata struct {
	// Name is a DNS label and the sandbox's identity on the host.
	Name string `json:"name" jsonschema:"minLength=1,maxLength=63,pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"`
	// Labels follow Kubernetes' rules for keys and values.
	Labels map[string]string `json:"labels,omitempty"`
}

// Manifest returns the document that declares s, defaults spelled out.
func (s *Sandbox) Manifest() Manifest {
	return Manifest{
		APIVersion: APIVersion,
		Kind:       Kind,
		Metadata:   Metadata{Name: s.Name, Labels: s.Labels},
		Spec:       s.Spec,
	}
}

// Encode writes s as a document that Decode accepts and reads as the same
// sandbox. It is JSON, and so YAML too.
func Encode(s *Sandbox) ([]byte, error) {
	b, err := json.Marshal(s.Manifest())
	if err != nil {
		return nil, fmt.Errorf("encoding sandbox %q: %w", s.Name, err)
	}
	return yamlSafe(b), nil
}

// yamlSafe escapes the characters that JSON allows in a string as they are
// and that YAML's readers refuse.
func yamlSafe(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfeff || r == 0xfffe || r == 0xffff {
			out = fmt.Appendf(out, "\\u%04x", r)
		} else {
			out = append(out, b[i:i+n]...)
		}
		i += n
	}
	return out
}
