package l7

import (
	"context"
	"errors"
	"io"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// RescueGRPC ends a gRPC response whose content breaks off with trailers that say
// so, as a gRPC client expects, where others find their stream reset. A reset by
// the server stays one, with its code; and what the client itself gave up is left
// alone. ending writes the trailers.
func RescueGRPC(ending func(*stack.Request, error, *stack.Header)) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			resp, err := next(ctx, r)
			if err != nil || r.Version != stack.HTTP2 || !r.GRPC() {
				return resp, err
			}
			if _, known := resp.Body.Size(); !known && !resp.Tunnel { // else the length is told, and nothing can end before it
				resp.Body = &rescued{Body: resp.Body, r: r, ending: ending}
			}
			return resp, nil
		}
	}
}

// A rescued is a body that does not fail, but ends.
type rescued struct {
	stack.Body

	r       *stack.Request
	ending  func(*stack.Request, error, *stack.Header)
	trailer *stack.Header // of its own making, once the body has failed
}

// Next implements stack.Body.
func (b *rescued) Next(ctx context.Context) ([]byte, error) {
	if b.trailer != nil {
		return nil, io.EOF
	}
	chunk, err := b.Body.Next(ctx)
	if err == nil || err == io.EOF || !rescuable(ctx, err) { //nolint:errorlint // the contract is io.EOF itself
		return chunk, err
	}
	b.trailer = new(stack.Header)
	b.ending(b.r, err, b.trailer)
	return chunk, io.EOF
}

// rescuable reports whether trailers can tell err.
func rescuable(ctx context.Context, err error) bool {
	var reset *stack.ResetError
	return ctx.Err() == nil && !errors.As(err, &reset)
}

// AtHand implements stack.Body.
func (b *rescued) AtHand() bool { return b.trailer != nil || b.Body.AtHand() }

// Trailer implements stack.Body.
func (b *rescued) Trailer() *stack.Header {
	if b.trailer != nil {
		return b.trailer
	}
	return b.Body.Trailer()
}
