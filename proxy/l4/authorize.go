package l4

import (
	"context"

	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Authorize closes connections that their port's policy does not admit.
func Authorize(p *policy.Policy) stack.Layer[stack.Handler] {
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			if _, err := p.Decide(c, nil); err != nil {
				_ = c.Close()
				return err
			}
			return next(ctx, c)
		}
	}
}
