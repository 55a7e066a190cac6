package desired

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Differences names the fields that make a and b different sandboxes or
// containers, sorted: those that SandboxHash and the containers' Hash stand
// for. None: what runs of one can go on as the other.
func Differences(a, b *Spec) []string {
	var paths []string
	differ("spec", plain(identity(a)), plain(identity(b)), &paths)
	if len(paths) == 0 && !slices.EqualFunc(a.InitContainers, b.InitContainers, func(x, y Container) bool { return x.Name == y.Name }) {
		paths = append(paths, "spec.initContainers") // their order
	}
	slices.Sort(paths)
	return paths
}

// identity is what of s is not changed in place.
func identity(s *Spec) Spec {
	id := s.whole()
	id.Containers = nil
	for _, c := range s.Containers {
		of := c.of(ClassContainer)
		of.UserLog = c.UserLog
		id.Containers = append(id.Containers, of)
	}
	return id
}

// Fields are digests of what SandboxHash stands for, part by part and by path:
// what has changed can be told from them later, and nothing else.
func (s *Sandbox) Fields() map[string]string { return digests(s.Spec.whole()) }

// Fields are the same of what the container's Hash stands for.
func (c *Container) Fields() map[string]string { return digests(c.of(ClassContainer)) }

func digests(v any) map[string]string {
	all := map[string]string{}
	eachPart("", plain(v), func(path string, v any, deepest bool) {
		all[path] = ""
		if deepest {
			all[path] = digest(v)[:8]
		}
	})
	return all
}

// eachPart calls do for the deepest parts of v and for those on the way to
// them, so that a part that comes or goes as a whole can be named.
func eachPart(path string, v any, do func(path string, v any, deepest bool)) {
	parts, ok := children(v)
	if path != "" || !ok {
		do(path, v, !ok)
	}
	_, list := v.([]any)
	for key, part := range parts {
		eachPart(partPath(path, key, list), part, do)
	}
}

func partPath(path, key string, list bool) string {
	if list {
		return path + "[" + key + "]"
	}
	return join(path, key)
}

// ChangedFields names the paths at which two results of Fields are not the
// same, sorted; of those that lie within each other the outermost. None where
// there is nothing to compare with, or only the order of a list has changed.
func ChangedFields(was, is map[string]string) []string {
	if len(was) == 0 {
		return nil
	}
	var changed []string
	for path := range union(was, is) {
		before, had := was[path]
		after, has := is[path]
		if had != has || before != after {
			changed = append(changed, path)
		}
	}
	slices.Sort(changed)
	return slices.DeleteFunc(changed, func(path string) bool {
		return slices.ContainsFunc(changed, func(outer string) bool {
			rest, within := strings.CutPrefix(path, outer)
			return within && rest != "" && strings.ContainsAny(rest[:1], ".[")
		})
	})
}

// plain is v as JSON has it.
func plain(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic("desired: a declared type does not marshal: " + err.Error()) // unreachable: plain data
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		panic("desired: " + err.Error()) // unreachable: it was just written
	}
	return out
}

// differ adds the deepest paths at which a and b are not the same. Lists of
// what has a name are compared by name.
func differ(path string, a, b any, paths *[]string) {
	am, aIs := children(a)
	bm, bIs := children(b)
	switch {
	case reflect.DeepEqual(a, b):
	case !aIs || !bIs:
		*paths = append(*paths, path)
	default:
		_, list := a.([]any)
		for key := range union(am, bm) {
			differ(partPath(path, key, list), am[key], bm[key], paths)
		}
	}
}

// children are the parts of an object, or of a list of objects that have
// names; nil has none.
func children(v any) (parts map[string]any, ok bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case []any:
		parts = map[string]any{}
		for _, e := range v {
			o, _ := e.(map[string]any)
			name, _ := o["name"].(string)
			if name == "" {
				return nil, false
			}
			parts[name] = e
		}
		return parts, true
	}
	return nil, false
}

func union[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
