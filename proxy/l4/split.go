package l4

import (
	"context"
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Split gives each connection to the backend that split picks.
func Split(split *profiles.Split[stack.Handler]) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error {
		next, err := split.Pick()
		if err != nil {
			return Refuse(c, err)
		}
		return next(ctx, c)
	}
}

// Routed gives each connection to what was built for the route that takes those
// without a name.
func Routed(routes *profiles.Router[stack.Handler]) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error {
		next, _, err := routes.RouteName("")
		if err != nil {
			return Refuse(c, err)
		}
		return next(ctx, c)
	}
}

// ErrForbidden means that a policy's filter refuses a connection.
var ErrForbidden = errors.New("connection is refused by policy")

// Filters applies a route's or a backend's filters to connections, all of which
// refuse them.
func Filters(fs []profiles.Filter) stack.Layer[stack.Handler] {
	return func(next stack.Handler) stack.Handler {
		if len(fs) == 0 {
			return next
		}
		err := fmt.Errorf("%w: %v", ErrForbidden, fs[0])
		return func(_ context.Context, c *stack.Conn) error { return Refuse(c, err) }
	}
}
