package l7

import (
	"context"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Rescue turns an error from below into the response that stands for it. An error
// for which answer has none is passed on: there is nobody left to answer. By then
// the layers below may have changed the request.
func Rescue(answer func(*stack.Request, error) *stack.Response) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			resp, err := next(ctx, r)
			if err == nil {
				return resp, nil
			}
			if resp = answer(r, err); resp == nil {
				return nil, err
			}
			return resp, nil
		}
	}
}
