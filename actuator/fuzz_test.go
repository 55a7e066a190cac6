package actuator

import (
	"encoding/json"
	"reflect"
	"testing"

	"sandboxer/desired"
	"sandboxer/observed"
)

// Of a record's hooks none are run but those that were sealed for that instance,
// and nothing in a record makes reading it fail worse than with an error.
func FuzzHooksOfRecord(f *testing.F) {
	a := &Actuator{hookKey: []byte("0123456789abcdef0123456789abcdef"), c: Config{
		Hooked: func(HookEnd) {}, Accepted: func(string) *desired.Sandbox { return nil }}}
	sealed := observed.ContainerRecord{Sandbox: "web", Name: "app", ID: "web.app.1"}
	check := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
	}
	declared := desired.Hooks{Poststop: []desired.Hook{{Path: "/bin/good"}}}
	check(a.setHooks(&sealed, declared))
	add := func(r observed.ContainerRecord) {
		b, err := json.Marshal(r)
		check(err)
		f.Add(b)
	}
	add(sealed)
	for _, change := range []func(*observed.ContainerRecord){
		func(r *observed.ContainerRecord) { r.ID = "web.app.2" },
		func(r *observed.ContainerRecord) { r.Sandbox, r.Name = "web\x00app", "" },
		func(r *observed.ContainerRecord) { r.Hooks = json.RawMessage(`{"poststop":[{"path":"/bin/evil"}]}`) },
		func(r *observed.ContainerRecord) { r.HooksSeal = "" },
	} {
		r := sealed
		change(&r)
		add(r)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r observed.ContainerRecord
		if json.Unmarshal(data, &r) != nil {
			return
		}
		same := r.Sandbox == sealed.Sandbox && r.Name == sealed.Name && r.ID == sealed.ID && string(r.Hooks) == string(sealed.Hooks) && r.HooksSeal == sealed.HooksSeal
		switch got := a.hooksOf(r); {
		case same && !reflect.DeepEqual(got, declared):
			t.Errorf("of the sealed record: %+v", got)
		case !same && !reflect.DeepEqual(got, desired.Hooks{}) && observed.CheckName(r.Sandbox) == nil && observed.CheckName(r.Name) == nil:
			t.Errorf("%s has %+v run", data, got)
		}
		var kept replacement
		_ = json.Unmarshal(r.GoferState, &kept)
	})
}
