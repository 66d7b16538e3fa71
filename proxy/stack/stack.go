// Package stack holds the few types from which the inbound and outbound stacks
// are built: the messages (Request, Response, Header, Body), what carries and
// answers them (Conn, Handler, Service, Exchange), and what joins those (Layer,
// Chain, Observer). It does no work of its own: it imports nothing else of this
// module but package guard and the identity type of package tls, and nothing of net/http, since
// the messages are the codecs' own. Read Service first.
package stack

import (
	"context"
	"errors"
	"slices"
)

// A Service answers one request. It owns r, and may change it; to send a request
// twice, or to look at it afterwards, Clone it first.
//
// The response's body streams. A service has finished with a request when that
// body has ended, not when the function returns; to act at that moment, use
// Response.Observe. Until then ctx bounds the exchange: when it is done, both
// bodies fail with its cause. (A tunnel is bounded by its connections only.)
//
// Whoever takes the response reads its body to the end, or closes it. Nobody has
// to read the request's: the server that made it ends it with the exchange.
//
// Both messages are recycled when the response's body has ended: whatever is
// kept longer must be Cloned before.
type Service func(ctx context.Context, r *Request) (*Response, error)

// A Handler serves one connection. It owns c, and closes it before it returns.
// When ctx is done it takes no more work on, and returns once what it has in
// hand is over; to cut that short, close c.
type Handler func(ctx context.Context, c *Conn) error

// A Layer wraps a Service, or a Handler, in another. What it counts it counts
// for every next that it is given.
type Layer[S any] func(next S) S

// Chain joins layers into one. A request meets them in the order in which they
// are written; its response meets them in reverse.
func Chain[S any](layers ...Layer[S]) Layer[S] {
	return func(next S) S {
		for _, layer := range slices.Backward(layers) {
			next = faulty(layer, layer(next))
		}
		return next
	}
}

// ErrUnsent is in a Service's error when the peer has certainly not begun on the
// request, and nothing of its body is spent: it may be sent again, whatever its
// method.
var ErrUnsent = errors.New("request did not reach the peer")

// ErrExhausted is in an error that this process, or its host, is to blame for: it
// has no descriptor, port or buffer left. It says nothing of the peer.
var ErrExhausted = errors.New("the proxy is out of what a connection needs")
