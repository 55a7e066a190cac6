package checkpoint

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"sandboxer/observed"
)

// Whatever a checkpoint's description says, what is taken of it names no process
// and no file of the host, and its names are no paths.
func FuzzDescription(f *testing.F) {
	const head = `{"version":1,"runtime":"r","sandbox":"web","spec":{"a":1},"containers":[`
	f.Add([]byte(head + `{"sandbox":"web","name":"app","id":"web.app.1","attempt":1,"hash":"h","state":"running","hooks":{"poststop":[]},"exit":{}}],"shares":[{"key":"v"}]}`))
	f.Add([]byte(head + `{"sandbox":"web","name":"app","id":"web.app.1","attempt":1,"state":"stopped","gofer":{"pid":1},"keeper":{"pid":1},"pidFile":{"path":"/x","pid":1},"process":{},"goferState":{}}]}`))
	f.Add([]byte(head + `{"sandbox":"web","name":"..","id":"a/b","attempt":1,"state":"running"}],"containers":[{}],"shares":[{"key":"../x"},{"key":"../x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d described
		if d.decode(data) != nil {
			if !reflect.DeepEqual(d, described{}) {
				t.Errorf("refused, and yet it is %+v", d)
			}
			return
		}
		names := map[string]bool{}
		for _, c := range d.Containers {
			r := c.record()
			harmless := observed.ContainerRecord{Sandbox: d.Sandbox, Name: r.Name, ID: r.ID, Attempt: r.Attempt, Hash: r.Hash, Fields: r.Fields, State: r.State,
				GoferRestarts: r.GoferRestarts, Hooks: r.Hooks, HookPhase: r.HookPhase, HooksDone: r.HooksDone, HooksSeal: r.HooksSeal, StartedAt: r.StartedAt, Exit: r.Exit}
			if !reflect.DeepEqual(r, harmless) || names[r.Name] {
				t.Errorf("accepted: %+v", r)
			}
			names[r.Name] = true
			for _, name := range []string{r.Sandbox, r.Name, r.ID} {
				if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00") {
					t.Errorf("accepted the name %q", name)
				}
			}
		}
		for _, s := range d.Shares {
			if strings.ContainsAny(s.Key, "/.\x00") {
				t.Errorf("accepted the volume %q", s.Key)
			}
		}
		first, err := json.Marshal(d)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", d, err)
		}
		var back described
		if err := back.decode(first); err != nil {
			t.Fatalf("%s is not accepted again: %v", first, err)
		}
		if second, err := json.Marshal(back); err != nil || string(second) != string(first) {
			t.Fatalf("first\n%s\nthen\n%s, %v", first, second, err)
		}
	})
}
