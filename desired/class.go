package desired

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Class says what a change of a field does; see the manifests' page.
type Class string

// The classes.
const (
	// ClassInPlace touches no process but as the field itself says.
	ClassInPlace Class = "in place"
	// ClassContainer has the one container stopped and made anew.
	ClassContainer Class = "container"
	// ClassSandbox has the whole sandbox replaced.
	ClassSandbox Class = "sandbox"
)

// specClasses holds every field of a Spec, containerClasses every one of a
// Container; what lies below a field is of its class. The hashes and all that
// is said of changes follow from these two.
var specClasses = map[string]Class{
	"state":                         ClassInPlace,
	"restartPolicy":                 ClassInPlace,
	"restartBackoff":                ClassInPlace,
	"terminationGracePeriodSeconds": ClassInPlace,
	"restoreFrom":                   ClassInPlace,
	"runtime":                       ClassSandbox,
	"hostname":                      ClassSandbox,
	"network":                       ClassSandbox,
	"volumes":                       ClassSandbox,
	"dependsOn":                     ClassInPlace,
	"initContainers":                ClassSandbox,   // but for what is in place of a container
	"containers":                    ClassContainer, // but as containerClasses says
}

var containerClasses = map[string]Class{
	"name":            ClassContainer,
	"rootfs":          ClassContainer,
	"bundle":          ClassContainer,
	"command":         ClassContainer,
	"args":            ClassContainer,
	"workingDir":      ClassContainer,
	"env":             ClassContainer,
	"volumeMounts":    ClassContainer,
	"securityContext": ClassContainer,
	"hooks":           ClassContainer,
	"stdin":           ClassContainer,
	"terminal":        ClassContainer,
	"consoleSocket":   ClassContainer,
	"pidFile":         ClassContainer,
	"userLog":         ClassSandbox, // the runtime has one per sandbox
	"resources":       ClassInPlace,
	"oomScoreAdj":     ClassInPlace,
	"restartPolicy":   ClassInPlace,
	"lifecycle":       ClassInPlace,
	"livenessProbe":   ClassInPlace,
	"readinessProbe":  ClassInPlace,
	"startupProbe":    ClassInPlace,
}

// ClassOf is the class of a field of the type Spec or Container.
func ClassOf(typ, field string) (class Class, ok bool) {
	class, ok = map[string]map[string]Class{"Spec": specClasses, "Container": containerClasses}[typ][field]
	return class, ok
}

// of gives s with the fields of a class alone.
func (s Spec) of(class Class) Spec {
	kept := keep(s, specClasses, class)
	if class == ClassSandbox {
		for i := range s.Containers {
			c := s.Containers[i].of(class)
			if reflect.ValueOf(c).IsZero() {
				continue
			}
			c.Name = s.Containers[i].Name
			kept.Containers = append(kept.Containers, c)
		}
	}
	return kept
}

// whole gives s with what identifies the sandbox.
func (s Spec) whole() Spec {
	id := s.of(ClassSandbox)
	id.InitContainers = nil
	for _, c := range s.InitContainers {
		id.InitContainers = append(id.InitContainers, c.of(ClassContainer))
	}
	return id
}

// of gives c with the fields of a class alone.
func (c Container) of(class Class) Container { return keep(c, containerClasses, class) }

func keep[T any](v T, classes map[string]Class, class Class) T {
	s := reflect.ValueOf(&v).Elem()
	for i := range s.NumField() {
		if classes[fieldName(s.Type().Field(i))] != class {
			s.Field(i).SetZero()
		}
	}
	return v
}

// fieldName is a field's name in a manifest.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// Change names fields that two declarations differ in.
type Change struct {
	Class     Class
	Container string   // empty: the sandbox
	Fields    []string // never none
}

// Changes tells b from a, two declarations of one sandbox: what of the
// sandbox differs first, then what of containers that are in both, each in the
// order of the classes above.
func Changes(a, b *Sandbox) []Change {
	var list []Change
	add := func(class Class, container string) {
		if fields := ChangedFields(digests(a.part(class, container)), digests(b.part(class, container))); len(fields) > 0 {
			list = append(list, Change{class, container, fields})
		}
	}
	add(ClassInPlace, "")
	add(ClassSandbox, "")
	for _, is := range b.Spec.InitContainers {
		if named(a.Spec.InitContainers, is.Name) != nil {
			add(ClassInPlace, is.Name)
		}
	}
	for _, is := range b.Spec.Containers {
		if named(a.Spec.Containers, is.Name) != nil {
			add(ClassInPlace, is.Name)
			add(ClassContainer, is.Name)
		}
	}
	return list
}

// part is what a Change of the class is about, of the sandbox (no container) or
// of a container that it has.
func (s *Sandbox) part(class Class, container string) any {
	switch {
	case container != "":
		return s.Container(container).of(class)
	case class == ClassSandbox:
		return s.Spec.whole()
	}
	all := plain(s.Spec.of(class)).(map[string]any)
	labels := map[string]string{} // not nil, so that each is told of by itself
	maps.Copy(labels, s.Labels)
	all["labels"] = labels
	return all
}

// Container is the one of that name, an init container or not; nil: there is none.
func (s *Sandbox) Container(name string) *Container {
	return named(slices.Concat(s.Spec.InitContainers, s.Spec.Containers), name)
}

func named(containers []Container, name string) *Container {
	for i := range containers {
		if containers[i].Name == name {
			return &containers[i]
		}
	}
	return nil
}

// Values says of each of the fields how it was in a and is in b. What variables,
// headers and files hold is left out: it may be secret.
func (c Change) Values(a, b *Sandbox) []string {
	valuesOf := func(s *Sandbox) map[string]any {
		all := map[string]any{}
		eachPart("", plain(s.part(c.Class, c.Container)), func(path string, v any, _ bool) { all[path] = v })
		return all
	}
	was, is := valuesOf(a), valuesOf(b)
	var list []string
	for _, path := range c.Fields {
		before, after := valueText(path, was[path]), valueText(path, is[path])
		if before != after { // else nothing of it can be told
			path += ": " + before + " → " + after
		}
		list = append(list, path)
	}
	return list
}

const notTold = "(not told)"

func valueText(path string, v any) string {
	switch {
	case v == nil:
		return "none"
	case strings.HasSuffix(path, ".value"), strings.Contains(path, ".files"):
		return notTold
	}
	b, err := json.Marshal(tellable("", v))
	if err != nil {
		return notTold // unreachable: plain data
	}
	return clip(string(b))
}

// tellable is v, the value of a field, without what may be secret in it.
func tellable(field string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, part := range v {
			if out[name] = tellable(name, part); field == "files" {
				out[name] = notTold
			}
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, tellable(field, e))
		}
		return out
	}
	if field == "value" || field == "env" { // a hook has env as NAME=VALUE
		return notTold
	}
	return v
}
