package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
)

// group runs functions side by side; the first that ends, ends all.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	errs  []error
	doing map[string]int // what has not ended
}

func newGroup(ctx context.Context) *group {
	g := &group{doing: map[string]int{}}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// run starts f. doing says in an error what f was about.
func (g *group) run(doing string, f func(context.Context) error) {
	g.mu.Lock()
	g.doing[doing]++
	g.mu.Unlock()
	g.wg.Go(func() {
		defer g.cancel()
		err := contained(g.ctx, f)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.doing[doing]--; g.doing[doing] == 0 {
			delete(g.doing, doing)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			g.errs = append(g.errs, fmt.Errorf("%s: %w", doing, err))
		}
	})
}

// left is what has not ended.
func (g *group) left() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.doing))
}

// contained is f, with a panic as its error: all else ends in order then.
func contained(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f(ctx)
}

// wait returns when all have ended.
func (g *group) wait() error {
	g.wg.Wait()
	return errors.Join(g.errs...)
}
