package desired

import "strings"

// Expand replaces references to variables in the words of a command, as a Pod
// does.
func Expand(words []string, variables map[string]string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = ExpandOne(w, variables)
	}
	return out
}

// ExpandOne replaces each $(NAME) in text by that variable's value. One that is
// not there is left as it stands, and $$ is a $ that begins no reference.
func ExpandOne(text string, variables map[string]string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "(") && closed:
			value, known := variables[name]
			if !known {
				value = "$(" + name + ")"
			}
			b.WriteString(value)
			text = after
		default:
			b.WriteByte('$')
			text = rest
		}
	}
}

// LiteralEnv are the variables whose values the manifest itself holds, with
// their references replaced.
func (c *Container) LiteralEnv() map[string]string {
	variables := map[string]string{}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			variables[e.Name] = ExpandOne(e.Value, variables)
		}
	}
	return variables
}
