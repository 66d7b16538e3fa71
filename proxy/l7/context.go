package l7

import (
	"context"
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Named puts name before the errors from below, so that whoever reads one knows
// which of many it was.
func Named(name string) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			resp, err := next(ctx, r)
			if err != nil {
				return nil, named(name, err)
			}
			return resp, nil
		}
	}
}

// named is apart from its caller so as to leave that a small frame: a stack of
// layers is deep, and lies cold when its response comes.
//
//go:noinline
func named(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }

// Fail fails every request with err.
func Fail(err error) stack.Service {
	return func(context.Context, *stack.Request) (*stack.Response, error) { return nil, err }
}
