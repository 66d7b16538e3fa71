package l7

import (
	"context"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Rescue turns an error from below into the response that stands for it. An error
// for which answer has none is passed on, and so is one whose client has left by
// then. The layers below may have changed the request.
func Rescue(answer func(*stack.Request, error) *stack.Response) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			resp, err := next(ctx, r)
			switch {
			case err == nil:
				return resp, nil
			case ctx.Err() != nil:
				return nil, err
			}
			if resp = answer(r, err); resp == nil {
				return nil, err
			}
			return resp, nil
		}
	}
}
