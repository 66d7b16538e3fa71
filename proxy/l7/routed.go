package l7

import (
	"context"

	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Routed answers each request with what was built for its route.
func Routed(routes *profiles.Router[stack.Service]) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		next, _, err := routes.Route(r)
		if err != nil {
			return nil, err
		}
		return next(ctx, r)
	}
}

// Split gives each request to the backend that split picks.
func Split(split *profiles.Split[stack.Service]) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		next, err := split.Pick()
		if err != nil {
			return nil, err
		}
		return next(ctx, r)
	}
}
