package desired

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Who has everything read anew finds what was there when he asked, without any
// event.
func TestRead(t *testing.T) {
	r := newRig(t, true)
	r.cfg.Resync = time.Hour
	r.start()
	for range 3 {
		r.put("m/web.yaml", doc("web", 1))
		if err := r.d.Read(context.Background()); err != nil {
			t.Fatal(err)
		}
		if s := r.d.Set(); s == nil || s.Sandboxes["web"] == nil {
			t.Fatalf("it is not there: %+v", s)
		}
		r.put("m/web.yaml", doc("web", 2))
		if err := r.d.Read(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := words(r.d.Set()); len(got) != 1 || got[0] != "web@2" {
			t.Fatalf("it is %v", got)
		}
	}
	r.stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.d.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
