package desired

import (
	"maps"
	"reflect"
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
	add := func(class Class, container string, was, is map[string]string) {
		if fields := ChangedFields(was, is); len(fields) > 0 {
			list = append(list, Change{class, container, fields})
		}
	}
	inPlace := func(s *Sandbox) map[string]string {
		all := digests(s.Spec.of(ClassInPlace))
		maps.Copy(all, digests(map[string]any{"labels": s.Labels}))
		return all
	}
	add(ClassInPlace, "", inPlace(a), inPlace(b))
	add(ClassSandbox, "", a.Fields(), b.Fields())
	for _, is := range b.Spec.InitContainers {
		for _, was := range a.Spec.InitContainers {
			if was.Name == is.Name {
				add(ClassInPlace, is.Name, digests(was.of(ClassInPlace)), digests(is.of(ClassInPlace)))
			}
		}
	}
	for i := range b.Spec.Containers {
		is := &b.Spec.Containers[i]
		for j := range a.Spec.Containers {
			if was := &a.Spec.Containers[j]; was.Name == is.Name {
				add(ClassInPlace, is.Name, digests(was.of(ClassInPlace)), digests(is.of(ClassInPlace)))
				add(ClassContainer, is.Name, was.Fields(), is.Fields())
			}
		}
	}
	return list
}
