package shelf_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"sandboxer/internal/shelf"
	"sandboxer/internal/shelf/shelftest"
)

// What comes and goes while it is looked for fails nobody: neither containers that
// run, nor one that is started.
func TestVanishing(t *testing.T) {
	h := newHost(t, "a/b/stays")
	var g shelf.Guard
	for i := range 8 {
		g.Things = append(g.Things, shelf.Thing{What: "the thing", Path: h.at(fmt.Sprintf("a/b/%d/own", i)), Hidden: true},
			shelf.Thing{What: "the file", Path: h.at(fmt.Sprintf("a/b/%d/file", i)), Hidden: true, Replaced: true})
	}
	ns := shelftest.New(t)
	ns.Put(t, "c.1", shelf.Guard{}, shelftest.Tree(t, h.dir, false))
	for i := range 8 {
		check(t, os.MkdirAll(h.at(fmt.Sprintf("a/b/%d/own", i)), 0o755))
	}
	before, err := g.Look() // where they will not be for long
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var churn sync.WaitGroup
	for i := range 8 {
		churn.Go(func() {
			dir := h.at(fmt.Sprint("a/b/", i))
			for ctx.Err() == nil {
				_ = os.MkdirAll(dir+"/own", 0o755) // it may be covered in the container, and is free here
				_ = os.WriteFile(dir+"/file", nil, 0o600)
				_ = os.RemoveAll(dir)
			}
		})
	}
	for n := 0; ctx.Err() == nil && !t.Failed(); n++ {
		if _, err := shelf.Cover(ns, before); err != nil {
			t.Errorf("covering, %d: %v", n, err)
		}
		root, _, err := shelf.Put(ns, "c.2", []shelf.Tree{shelftest.Tree(t, h.dir, false)}, g)
		if err != nil {
			t.Errorf("starting, %d: %v", n, err)
			continue
		}
		root.Close()
	}
	cancel()
	churn.Wait()
}
