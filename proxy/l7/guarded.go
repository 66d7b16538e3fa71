package l7

import (
	"context"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Guarded makes a panic below it an error, a *guard.Error. What the layers below have
// counted ends with it, on whichever way the panic came.
func Guarded(g *guard.Guard) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (resp *stack.Response, err error) {
			defer func() {
				if v := recover(); v != nil {
					resp, err = nil, panicked(ctx, g, r, v)
				}
			}()
			return next(ctx, r)
		}
	}
}

// panicked is apart, so that its frame is not on every request's stack.
//
//go:noinline
func panicked(ctx context.Context, g *guard.Guard, r *stack.Request, v any) error {
	err := g.Caught("request", v, "method", r.Method, "authority", r.Authority, "path", r.Path)
	if x := stack.ExchangeOf(ctx); x != nil {
		_ = g.Do("request", func() { x.Abandon(err) })
	}
	return err
}
