package l7

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// ErrShed means that the proxy has as many requests in flight as it may.
var ErrShed = errors.New("too many requests in flight")

// Shed fails requests at once while max are in flight, each to its response's
// end. The count is the layer's: stacks that are to be bounded together are given
// the same one.
func Shed(max int) stack.Layer[stack.Service] {
	s := &shed{max: int64(max)}
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			observed := false
			defer func() { // also if a panic passes
				if !observed {
					s.flying.Add(-1)
				}
			}()
			if s.flying.Add(1) > s.max {
				return nil, ErrShed
			}
			resp, err := next(ctx, r)
			if err != nil {
				return nil, err
			}
			stack.Hold(ctx, resp) // it may be a layer's own
			resp.Observe(s)
			observed = true
			return resp, nil
		}
	}
}

// A shed is its own observer: it looks at nothing but the end.
type shed struct {
	max    int64
	flying atomic.Int64
}

func (s *shed) Data([]byte) {}
func (s *shed) End(error)   { s.flying.Add(-1) }
