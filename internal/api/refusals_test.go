package api

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
)

// However many requests are refused, few lines are logged, and how many there were.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var logged []string
		r := refusals{log: funcr.New(func(_, line string) {
			mu.Lock()
			defer mu.Unlock()
			logged = append(logged, line)
		}, funcr.Options{})}
		said := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(logged)
		}
		forget := func() {
			mu.Lock()
			defer mu.Unlock()
			logged = nil
		}
		for range 3 {
			forget()
			for i := range 1000 {
				r.note("path", fmt.Sprint("/", i))
			}
			lines := said()
			if len(lines) != refusalsMost || !strings.Contains(lines[0], "a request was refused") {
				t.Fatalf("%d lines: %.300s", len(lines), lines)
			}
			time.Sleep(refusalsTime)
			synctest.Wait()
			lines = said()
			if last := lines[len(lines)-1]; len(lines) != refusalsMost+1 || !strings.Contains(last, fmt.Sprint(1000-refusalsMost)) {
				t.Errorf("%d lines, at last %s", len(lines), last)
			}
		}
		forget()
		r.note("path", "/")
		time.Sleep(refusalsTime)
		synctest.Wait()
		if lines := said(); len(lines) != 1 {
			t.Errorf("%q", lines)
		}
	})
	if got := brief(strings.Repeat("x", 5000)); len(got) > 300 || brief("/v1") != "/v1" {
		t.Errorf("%d bytes", len(got))
	}
}
