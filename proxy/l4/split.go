package l4

import (
	"context"
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Split dials the backend that split picks for each connection.
func Split(split *profiles.Split[stack.Dialer]) stack.Dialer {
	return func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
		next, err := split.Pick()
		if err != nil {
			return nil, err
		}
		return next(ctx, s)
	}
}

// Routed dials by what was built for the route that takes connections without a
// name.
func Routed(routes *profiles.Router[stack.Dialer]) stack.Dialer {
	return func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
		next, _, err := routes.RouteName("")
		if err != nil {
			return nil, err
		}
		return next(ctx, s)
	}
}

// ErrForbidden means that a policy's filter refuses a connection.
var ErrForbidden = errors.New("connection is refused by policy")

// Filters applies a route's or a backend's filters to connections, all of which
// refuse them.
func Filters(fs []profiles.Filter) stack.Layer[stack.Dialer] {
	return func(next stack.Dialer) stack.Dialer {
		if len(fs) == 0 {
			return next
		}
		return Refusing(fmt.Errorf("%w: %v", ErrForbidden, fs[0]))
	}
}

// Refusing dials nothing, for err.
func Refusing(err error) stack.Dialer {
	return func(context.Context, stack.Session) (*stack.Conn, error) { return nil, err }
}
