package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Hash identifies everything that the document declares.
func (s *Sandbox) Hash() string { return digest(s.Spec, s.Labels) }

// SandboxHash identifies the fields whose change replaces the whole sandbox:
// runtime, hostname, network, the volumes' sources, and what of the init
// containers is not changed in place.
func (s *Sandbox) SandboxHash() string { return digest(s.Spec.whole()) }

// Hash identifies the fields whose change makes this one container anew. What
// is changed in place (limits, score, restart policy, probes, what stops it) is
// left out.
func (c *Container) Hash() string { return digest(c.of(ClassContainer)) }

// digest hashes the canonical JSON of its arguments: struct fields in order,
// map keys sorted.
func digest(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		b, err := json.Marshal(p)
		if err != nil {
			panic("desired: a declared type does not marshal: " + err.Error()) // unreachable: plain data
		}
		h.Write(b)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
