package l7_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestGuarded: a panic is an error above, and nothing that was counted up stays so,
// whether it comes on the way down, or on the way up past what counts.
func TestGuarded(t *testing.T) {
	evil := func(down, up bool) stack.Layer[stack.Service] {
		return func(next stack.Service) stack.Service {
			return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
				if down {
					panic("down")
				}
				resp, err := next(ctx, r)
				if up {
					panic("up")
				}
				return resp, err
			}
		}
	}
	for name, at := range map[string]struct{ down, up, above, endpoint bool }{
		"down":        {down: true},
		"up":          {up: true},
		"up, above":   {up: true, above: true},
		"in endpoint": {endpoint: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := balance.New(t.Context(), balance.Config{}, func(context.Context, discover.Endpoint, func()) (stack.Service, func() bool) {
				return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
					if at.endpoint {
						panic("endpoint")
					}
					resp := &stack.Response{Status: 200, Body: stack.Bytes([]byte("x"))}
					stack.Hold(ctx, resp)
					return resp, nil
				}, nil
			})
			b.Update(discover.Set{Exists: true, Endpoints: []discover.Endpoint{{Weight: 1}}})
			counted := 0
			g := &guard.Guard{Log: slog.New(slog.DiscardHandler), Count: func(string) { counted++ }}
			svc := stack.Chain(
				l7.Guarded(g),
				evil(at.down && at.above, at.up && at.above),
				l7.NewInFlight(1).Shed,
				evil(at.down && !at.above, at.up && !at.above),
			)(l7.Balanced(b))
			for n := 1; n <= 3; n++ {
				x := &stack.Exchange{}
				var lost *guard.Error
				if _, err := svc(x, &stack.Request{Body: stack.Empty()}); !errors.As(err, &lost) || counted != n {
					t.Fatalf("request %d: %v, counted %d", n, err, counted)
				}
				x.End(io.EOF)
			}
			for _, e := range b.View().Endpoints {
				if e.Pending != 0 {
					t.Errorf("%d calls are in hand when all is over", e.Pending)
				}
			}
		})
	}
}
