package desired

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"
)

// walker compares a document's tree with the Go types it is decoded into, and
// writes down every difference with its line. What is wrong is left out of
// the value it returns, so that the rest can still be decoded and checked.
type walker struct {
	faults []fault
	lines  map[string]int // field path → the line it stands on
}

func (w *walker) fault(n *yaml.Node, path, format string, args ...any) {
	w.faults = append(w.faults, fault{line: n.Line, path: path, message: fmt.Sprintf(format, args...)})
}

// value returns what json.Marshal writes for n as a t, and whether there is
// anything: a null is as good as absent.
func (w *walker) value(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if _, seen := w.lines[path]; !seen {
		w.lines[path] = n.Line
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil, false
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[Duration]():
		return w.duration(n, path)
	case reflect.TypeFor[resource.Quantity]():
		return w.quantity(n, path)
	case reflect.TypeFor[NameOrNumber]():
		if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
			return n.Value, true
		}
	}
	switch t.Kind() {
	case reflect.Struct:
		return w.object(n, t, path)
	case reflect.Map:
		return w.stringMap(n, path)
	case reflect.Slice:
		return w.list(n, t, path)
	case reflect.String:
		return w.text(n, path, false)
	case reflect.Bool:
		return w.boolean(n, path)
	default:
		return w.integer(n, t, path)
	}
}

func (w *walker) object(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if n.Kind != yaml.MappingNode {
		w.fault(n, path, "must be a mapping of fields, not %s%s", describe(n), mappingForm(n, t, path))
		return nil, false
	}
	fields := map[string]reflect.Type{}
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = f.Type
		names = append(names, name)
	}
	out := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			w.fault(key, path, "a field's name must be a plain word, not %s", describe(key))
			continue
		}
		at := join(path, key.Value)
		w.lines[at] = key.Line
		ft, known := fields[key.Value]
		if !known {
			switch why := later(t, key.Value); {
			case why == "":
				w.fault(key, at, "unknown field%s", Suggest(key.Value, names))
			case !empty(val), key.Value == "allowPrivilegeEscalation" && val.Tag == "!!bool": // there false asks for something
				w.fault(key, at, "%s", why)
			}
			continue
		}
		if v, ok := w.value(val, ft, at); ok {
			out[key.Value] = v
		}
	}
	return out, true
}

// mappingForm says how a scalar is written that stands where its mapping ought to.
func mappingForm(n *yaml.Node, t reflect.Type, path string) string {
	field := map[reflect.Type]string{
		reflect.TypeFor[HostPath](): "path", reflect.TypeFor[Rootfs](): "path", reflect.TypeFor[Network](): "mode",
		reflect.TypeFor[EmptyDir](): "sizeLimit", reflect.TypeFor[EnvSource](): "file",
	}[t]
	if field == "" || n.Kind != yaml.ScalarNode || n.Tag == "!!bool" {
		return ""
	}
	return fmt.Sprintf(": write %s: {%s: %s}", path[strings.LastIndex(path, ".")+1:], field, clip(n.Value))
}

// empty says that n asks for nothing, so that a field which is not supported
// yet may carry it: null, false, an empty list, or a mapping
// of nothing but such.
func empty(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Tag == "!!null" || n.Tag == "!!bool" && strings.EqualFold(n.Value, "false")
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			if !empty(n.Content[i]) {
				return false
			}
		}
		return len(n.Content) > 0
	}
	return len(n.Content) == 0
}

func (w *walker) stringMap(n *yaml.Node, path string) (any, bool) {
	if n.Kind != yaml.MappingNode {
		w.fault(n, path, "must be a mapping of strings, not %s", describe(n))
		return nil, false
	}
	out := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		w.lines[at] = key.Line
		if key.Kind != yaml.ScalarNode || !stringTag(key) {
			w.fault(key, path, "a key must be a string, not %s", describe(key))
			continue
		}
		if v, ok := w.text(val, at, true); ok {
			out[key.Value] = v
		}
	}
	return out, true
}

func (w *walker) list(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		w.fault(n, path, "must be a list, not %s", describe(n))
		return nil, false
	}
	if len(n.Content) == 0 {
		return nil, false // as good as absent, so that both have one hash
	}
	out := []any{}
	for i, c := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		before := len(w.faults)
		v, ok := w.value(c, t.Elem(), at)
		if !ok {
			if len(w.faults) == before {
				w.fault(c, at, "must not be null")
			}
			// An empty stand-in keeps the numbers of those that follow.
			v = reflect.Zero(t.Elem()).Interface()
		}
		out = append(out, v)
	}
	return out, true
}

func stringTag(n *yaml.Node) bool {
	// A date is no type of ours: 2001-01-01 means the text.
	return n.Tag == "!!str" || n.Tag == "!!timestamp"
}

func (w *walker) text(n *yaml.Node, path string, content bool) (any, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		w.fault(n, path, "must be a string, not %s", describe(n))
	case !stringTag(n):
		w.fault(n, path, "must be a string, not %s: quote it", describe(n))
	case !content && strings.ContainsRune(n.Value, 0):
		w.fault(n, path, "contains a NUL byte")
	default:
		return n.Value, true
	}
	return nil, false
}

func (w *walker) boolean(n *yaml.Node, path string) (any, bool) {
	var b bool
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
		w.fault(n, path, "must be true or false, not %s", describe(n))
		return nil, false
	}
	return b, true
}

func (w *walker) integer(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
		w.fault(n, path, "must be an integer, not %s", describe(n))
		return nil, false
	}
	var v int64
	if err := n.Decode(&v); err != nil || reflect.Zero(t).OverflowInt(v) {
		w.fault(n, path, "%s is out of range: at most %d", clip(n.Value), int64(math.MaxInt64)>>(64-t.Bits()))
		return nil, false
	}
	return v, true
}

func (w *walker) duration(n *yaml.Node, path string) (any, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		w.fault(n, path, "must be a duration such as \"30s\" or \"1m30s\", not %s", describe(n))
		return nil, false
	}
	d, err := time.ParseDuration(n.Value)
	switch {
	case err != nil:
		w.fault(n, path, "%q is no duration: write it as \"30s\" or \"1m30s\"", clip(n.Value))
	case d <= 0:
		// Checked here, where a zero can still be told from nothing written.
		w.fault(n, path, "%s is out of range: must be more than 0", n.Value)
	default:
		return n.Value, true
	}
	return nil, false
}

func (w *walker) quantity(n *yaml.Node, path string) (any, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && n.Tag != "!!int" && n.Tag != "!!float" {
		w.fault(n, path, "must be a quantity, not %s: %s", describe(n), quantityForm("", path))
		return nil, false
	}
	// The bound keeps a number of a million digits from being computed with.
	if _, err := resource.ParseQuantity(n.Value); err != nil || len(n.Value) > 40 {
		w.fault(n, path, "%q is no quantity: %s", clip(n.Value), quantityForm(n.Value, path))
		return nil, false
	}
	return n.Value, true
}

var bytesForm = pattern(`^([0-9.]{1,20})\s*([kKmMgGtT])(i?)[bB]?$`)

// quantityForm says how a quantity of a field is written, by what was written if
// that can be told: 64MB and 1g are what others call 64M and 1Gi.
func quantityForm(value, path string) string {
	if strings.HasSuffix(path, ".cpu") {
		return "write it in cores, as 500m, 2 or 0.5"
	}
	m := bytesForm().FindStringSubmatch(value)
	if m == nil {
		return "write it in bytes, as 256Mi, 1Gi or 64M"
	}
	unit := strings.ToUpper(m[2])
	decimal := unit
	if unit == "K" {
		decimal = "k" // the one that is small
	}
	if m[3] != "" {
		return fmt.Sprintf("write it as %s%si", m[1], unit)
	}
	return fmt.Sprintf("write it as %s%si (times 1024) or %s%s (times 1000)", m[1], unit, m[1], decimal)
}

// describe says what n is, for "must be X, not Y".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!str":
		return "the string " + strconv.Quote(clip(n.Value))
	case "!!int":
		return "the integer " + clip(n.Value)
	case "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return "the boolean " + clip(n.Value)
	case "!!null":
		return "null"
	}
	return "a value with the tag " + clip(n.Tag)
}
