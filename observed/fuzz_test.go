package observed

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// What is believed of a record is of that sandbox and container, leads to no path
// by its names, is read as the same once it is written again; what is not
// believed leaves nothing behind.
func FuzzRecord(f *testing.F) {
	r := &Records{dir: "/nowhere", bootID: "boot", key: []byte("key"), unsigned: true}
	own := &Records{dir: "/nowhere", bootID: "boot", key: []byte("key")}
	for _, rec := range []any{
		Record{Version: RecordVersion, BootID: "boot", Name: "web", State: SandboxUp, Cgroup: "/p/web", Sentry: Process{PID: 3, StartTime: 4}},
		ContainerRecord{Version: RecordVersion, BootID: "boot", Sandbox: "web", Name: "app", ID: "web.app.1", Attempt: 1, State: Running,
			GoferState: json.RawMessage(`{"mounts":[]}`), Hooks: json.RawMessage(`{}`), Exit: &Exit{}},
		ContainerRecord{Version: RecordVersion, BootID: "boot", Sandbox: "web", Name: Server(0), ID: "web._volumes.0", State: Stopped},
	} {
		b, err := json.Marshal(rec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":1,"bootID":"boot","name":"web","state":"up","name":"../x","sentry":{"pid":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if own.decodeRecord(data, "web", &Record{}) == nil || own.decodeContainer(data, "web", "app", &ContainerRecord{}) == nil {
			t.Errorf("signed by nobody, and accepted: %s", data)
		}
		var rec Record
		if err := r.decodeRecord(data, "web", &rec); err != nil {
			if !reflect.DeepEqual(rec, Record{}) {
				t.Errorf("refused (%v), and yet it is %+v", err, rec)
			}
		} else {
			if rec.Name != "web" || rec.BootID != "boot" {
				t.Errorf("accepted: %+v", rec)
			}
			again(t, rec, func(b []byte, into *Record) error { return r.decodeRecord(b, "web", into) })
		}
		for _, name := range []string{"app", Server(0)} {
			var c ContainerRecord
			if err := r.decodeContainer(data, "web", name, &c); err != nil {
				if !reflect.DeepEqual(c, ContainerRecord{}) {
					t.Errorf("refused (%v), and yet it is %+v", err, c)
				}
				continue
			}
			if c.Sandbox != "web" || c.Name != name || strings.ContainsAny(c.ID, "/\x00") || c.ID == ".." || c.IsServer() != (name != "app") {
				t.Errorf("accepted: %+v", c)
			}
			again(t, c, func(b []byte, into *ContainerRecord) error { return r.decodeContainer(b, "web", name, into) })
		}
	})
}

// again holds what was accepted to being the same once written and read.
func again[T any](t *testing.T, rec T, decode func([]byte, *T) error) {
	t.Helper()
	first, err := json.Marshal(rec)
	if err != nil {
		t.Fatalf("%+v can't be written: %v", rec, err)
	}
	var back T
	if err := decode(first, &back); err != nil {
		t.Fatalf("%s is not accepted again: %v", first, err)
	}
	if second, err := json.Marshal(back); err != nil || string(second) != string(first) {
		t.Fatalf("first\n%s\nthen\n%s, %v", first, second, err)
	}
}
