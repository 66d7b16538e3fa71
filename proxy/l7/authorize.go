package l7

import (
	"context"

	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Authorize fails requests that their port's policy does not admit.
func Authorize(p *policy.Policy) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			if _, err := p.Decide(r.Conn, r); err != nil {
				return nil, err
			}
			return next(ctx, r)
		}
	}
}
