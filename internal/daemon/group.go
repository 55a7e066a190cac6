package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// group runs functions side by side; the first that ends, ends all.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// run starts f. doing says in an error what f was about.
func (g *group) run(doing string, f func(context.Context) error) {
	g.wg.Go(func() {
		defer g.cancel()
		if err := contained(g.ctx, f); err != nil && !errors.Is(err, context.Canceled) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, fmt.Errorf("%s: %w", doing, err))
		}
	})
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
