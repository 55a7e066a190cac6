package plan

import (
	"reflect"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// A field that is added and forgotten in Equal would not be stored.
func TestEqualComparesEveryField(t *testing.T) {
	none := map[string]bool{"Clock": true} // which says of itself that it is no part of it
	each(t, Memory{}, none, func(field string, changed Memory) {
		if changed.Equal(Memory{}) || !changed.Equal(changed) {
			t.Errorf("Memory.Equal does not look at %s", field)
		}
	})
	each(t, ContainerMemory{}, nil, func(field string, changed ContainerMemory) {
		if changed.Equal(ContainerMemory{}) || !changed.Equal(changed) {
			t.Errorf("ContainerMemory.Equal does not look at %s", field)
		}
	})
	each(t, observed.Exit{}, nil, func(field string, changed observed.Exit) {
		if equalExit(&changed, &observed.Exit{}) {
			t.Errorf("an exit's %s is not looked at", field)
		}
	})
}

// each gives zero with one of its fields changed, for all but those left out.
func each[T any](t *testing.T, zero T, without map[string]bool, check func(field string, changed T)) {
	t.Helper()
	for i := range reflect.TypeFor[T]().NumField() {
		name := reflect.TypeFor[T]().Field(i).Name
		if without[name] {
			continue
		}
		changed := zero
		set(t, reflect.ValueOf(&changed).Elem().Field(i))
		check(name, changed)
	}
}

func set(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(t0))
		return
	case *desired.PreStop:
		v.Set(reflect.ValueOf(&desired.PreStop{Sleep: &desired.SleepAction{Seconds: 1}}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.Zero(v.Type().Elem()))
	case reflect.Struct:
		set(t, v.Field(0))
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}
