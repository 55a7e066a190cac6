package gvisor

import (
	"reflect"
	"testing"
	"time"
)

// A process can be named as it likes: it makes nobody see anything but itself.
func TestParseProcess(t *testing.T) {
	booted := time.Unix(1000, 0)
	const tail = " S 0 2 2 0 0 0 0 0 0 0 150 50 0 0 20 0 6 0 300 1265065984 10 18446744073709551615 0 0\n"
	want := Process{PID: 12, CPU: 2 * time.Second, StartedAt: time.Unix(1003, 0), RSS: 40960, Args: []string{"/w", "a b"}}
	for _, name := range []string{"w", "", "15 characters..", ") S 1 (", "a\n13 (b) S 0 2", "((((", "))))"} {
		p := Process{PID: 12}
		if err := p.parse([]byte("12 ("+name+")"+tail+"/w\x00a b\x00"), booted); err != nil || !reflect.DeepEqual(p, want) {
			t.Errorf("%q: %+v, %v", name, p, err)
		}
	}
	p := Process{PID: 12}
	if err := p.parse([]byte("12 (w)"+tail), booted); err != nil || p.Args != nil {
		t.Errorf("a zombie: %+v, %v", p, err)
	}
	for _, bad := range []string{"", "12 (w", "13 (w)" + tail, "12 (w) S 0\n", "12 (w)" + tail[:len(tail)-1]} {
		if err := (&Process{PID: 12}).parse([]byte(bad), booted); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}
