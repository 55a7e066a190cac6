package desired

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// Differences names the fields that make a and b different sandboxes or
// containers, sorted: those that SandboxHash and the containers' Hash stand
// for. None: what runs of one can go on as the other.
func Differences(a, b *Spec) []string {
	var paths []string
	differ("spec", plain(identity(a)), plain(identity(b)), &paths)
	slices.Sort(paths)
	return paths
}

// identity is what of s is not changed in place.
func identity(s *Spec) any {
	containers := make([]Container, len(s.Containers))
	for i := range s.Containers {
		containers[i] = s.Containers[i].identity()
	}
	return struct {
		Runtime    string      `json:"runtime"`
		Hostname   string      `json:"hostname"`
		Network    Network     `json:"network"`
		Volumes    []Volume    `json:"volumes"`
		Containers []Container `json:"containers"`
	}{s.Runtime, s.Hostname, s.Network, s.Volumes, containers}
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
			at := join(path, key)
			if list {
				at = path + "[" + key + "]"
			}
			differ(at, am[key], bm[key], paths)
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

func union(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
