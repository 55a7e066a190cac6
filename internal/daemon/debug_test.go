package daemon

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/observed"
	"sandboxer/reconcile"
)

// A part that hangs hides no other one.
func TestPartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var missing []string
		hang := make(chan struct{})
		if v := part(&missing, "hangs", func() int { <-hang; return 1 }); v != 0 {
			t.Errorf("it said %d", v)
		}
		if v := part(&missing, "answers", func() int { return 2 }); v != 2 {
			t.Errorf("it said %d", v)
		}
		if len(missing) != 1 || missing[0] != "hangs" {
			t.Errorf("%q are missing", missing)
		}
		close(hang)
	})
}

// fill gives every field that can have one a value that tells where it is from.
func fill(v reflect.Value, path string, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("secret:" + path)
	case reflect.Pointer:
		if depth < 12 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), path, depth+1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(`"secret:` + path + `"`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path, depth+1)
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, path, depth+1)
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), value)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				fill(v.Field(i), strings.TrimPrefix(path+"."+f.Name, "."), depth+1)
			}
		}
	}
}

// The summary of records has nothing of what containers were given, and whatever
// records will hold it has no more than what is listed here.
func TestSummaryOfRecords(t *testing.T) {
	var o observed.Sandbox
	fill(reflect.ValueOf(&o).Elem(), "", 0)
	b, err := json.Marshal(debugSandbox(reconcile.KeyState{Name: "web"}, reconcile.Pass{Observed: o}, true))
	check(t, err)
	shown := map[string]bool{}
	for _, s := range []string{"Broken", "BrokenContainers", "Damaged", "ProbeError", "Record.State", "Record.GVisor", "Containers.State",
		"Containers.ContainerRecord.Name", "Containers.ContainerRecord.ID", "Containers.ContainerRecord.HookPhase", "Containers.ContainerRecord.Exit.Reason",
		"Servers.State", "Servers.ContainerRecord.Name", "Servers.ContainerRecord.ID", "Servers.ContainerRecord.HookPhase", "Servers.ContainerRecord.Exit.Reason"} {
		shown[s] = false
	}
	for _, part := range strings.Split(string(b), "secret:")[1:] {
		path, _, _ := strings.Cut(part, `"`)
		if _, ok := shown[path]; !ok {
			t.Errorf("it shows %s", path)
		}
		shown[path] = true
	}
	for path, is := range shown {
		if !is {
			t.Errorf("it does not show %s", path)
		}
	}
	if s := debugSandbox(reconcile.KeyState{}, reconcile.Pass{}, true); s.Record != nil || s.Since != nil || s.NextTry != nil {
		t.Errorf("of nothing: %+v", s)
	}
	if s := debugSandbox(reconcile.KeyState{Phase: reconcile.Looking, Since: time.Unix(1, 0)}, reconcile.Pass{}, false); s.Since == nil || s.Phase != "looking" {
		t.Errorf("%+v", s)
	}
}
