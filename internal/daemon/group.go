package daemon

import (
	"context"
	"errors"
	"fmt"
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
		if err := f(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, fmt.Errorf("%s: %w", doing, err))
		}
	})
}

// wait returns when all have ended.
func (g *group) wait() error {
	g.wg.Wait()
	return errors.Join(g.errs...)
}
