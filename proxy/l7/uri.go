package l7

import (
	"context"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// NormalizeURI gives an HTTP/1 request without an authority the one that the
// client meant to reach, to be routed by. It changes nothing that is sent on:
// such a request has no Host, and gets none.
func NormalizeURI(authority func(*stack.Conn) string) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			if r.Authority == "" && r.Version != stack.HTTP2 {
				r.Authority = authority(r.Conn)
			}
			return next(ctx, r)
		}
	}
}
