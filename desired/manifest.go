package desired

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
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

// yamlFromJSON rewrites valid JSON where YAML's notation for strings differs:
// "\/" is no escape there, and a character beyond 16 bits is not written as
// two. Lines stay as they are.
func yamlFromJSON(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out = append(out, b[i])
			continue
		}
		i++ // valid JSON: something follows
		switch {
		case b[i] == '/':
			out = append(out, '/')
		case b[i] == 'u' && utf16.IsSurrogate(hexRune(b[i+1:])):
			r := unicode.ReplacementChar
			if len(b) > i+10 && b[i+5] == '\\' && b[i+6] == 'u' {
				r = utf16.DecodeRune(hexRune(b[i+1:]), hexRune(b[i+7:]))
			}
			if r != unicode.ReplacementChar {
				i += 6
			}
			i += 4
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, '\\', b[i])
		}
	}
	return yamlSafe(out)
}

// hexRune reads the four digits of a \u escape.
func hexRune(b []byte) rune {
	n, err := strconv.ParseUint(string(b[:min(4, len(b))]), 16, 32)
	if err != nil {
		return 0
	}
	return rune(n)
}
