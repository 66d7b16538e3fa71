package control

import (
	"context"
	"fmt"
	"time"

	"github.com/go-kit/kit/endpoint"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// A question is a unary call on its way through go-kit's endpoints.
type question struct {
	method      string
	args, reply any
	opts        []grpc.CallOption
}

// Invoke implements grpc.ClientConnInterface. Its error names the service, and
// keeps the gRPC status in its chain.
func (c *Client) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	_, err := c.unary(ctx, &question{method, args, reply, opts})
	return err
}

// ask is the innermost endpoint.
func (c *Client) ask(ctx context.Context, request any) (any, error) {
	q, ok := request.(*question)
	if !ok {
		return nil, fmt.Errorf("%T is not a question", request)
	}
	return c.do(ctx, func(ctx context.Context, r *replica) (any, error) {
		return nil, r.conn.Invoke(ctx, q.method, q.args, q.reply, q.opts...)
	})
}

// named gives errors the reference's context.
func (c *Client) named(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, request any) (any, error) {
		v, err := next(ctx, request)
		if err != nil {
			return v, fmt.Errorf("controller %s: %w", c.conf.Addr, err)
		}
		return v, nil
	}
}

// counted stands inside named, so that it sees the status itself.
func (c *Client) counted(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, request any) (any, error) {
		began := time.Now()
		c.conf.Observe.Request(c.conf.Name, c.conf.Addr.String())
		v, err := next(ctx, request)
		c.conf.Observe.Response(c.conf.Name, c.conf.Addr.String(), uint32(status.Code(err)), time.Since(began))
		return v, err
	}
}
