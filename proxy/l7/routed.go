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

// Classed says how the responses to a route's requests are judged, to all that
// judge them below. Nil leaves that as it is.
func Classed(class func(status int) (failure, decided bool)) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		if class == nil {
			return next
		}
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			r.Class = class
			return next(ctx, r)
		}
	}
}
