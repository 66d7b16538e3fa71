package l7

import (
	"context"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// OnObserverPanic has told told what an observer of a message's body panics with,
// while it does, so that it can see the stack. The message goes on without the
// observer.
func OnObserverPanic(told func(cause any)) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			r.OnPanic(told)
			resp, err := next(ctx, r)
			if resp != nil {
				resp.OnPanic(told)
			}
			return resp, err
		}
	}
}
