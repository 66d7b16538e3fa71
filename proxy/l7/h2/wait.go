package h2

import (
	"context"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/warm"
)

// A waiter is where one goroutine waits for news of its stream. A wake that comes
// when nobody waits is not lost; many count as one. Whoever is woken looks for
// itself whether there is what it has waited for. A zero waiter is made one when it is
// first waited on, and woken under its connection's mu only.
type waiter struct{ news chan struct{} }

func newWaiter() waiter { return waiter{make(chan struct{}, 1)} }

func (w waiter) wake() {
	if w.news == nil { // nobody has waited here yet
		return
	}
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// Interrupt implements stack.Interrupter.
func (w waiter) Interrupt() { w.wake() }

// until waits until ready, which looks under mu, says so, or ctx is done. It returns
// the cause if it is. It is entered, and left, with c.mu held.
func (c *conn) until(ctx context.Context, w *waiter, ready func() bool) error {
	if ready() {
		return nil
	}
	if w.news == nil {
		*w = newWaiter()
	}
	locked := false
	c.mu.Unlock()
	defer func() {
		if !locked { // a panic passes: whoever has taken mu gives it back
			c.mu.Lock()
		}
	}()
	watch := stack.WatchFor(ctx, w)
	defer watch.Stop()
	for {
		<-w.news
		warm.Callers()
		c.mu.Lock()
		locked = true
		if ready() {
			if x, ok := ctx.(*stack.Exchange); ok {
				x.Came(time.Duration(c.sched.came.Load()))
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		locked = false
		c.mu.Unlock()
	}
}
