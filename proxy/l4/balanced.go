package l4

import (
	"context"
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Picker chooses which endpoint a connection goes to: a
// balance.Balancer[stack.Dialer].
type Picker interface {
	Pick(ctx context.Context, h balance.Hint) (stack.Dialer, balance.Call, error)
}

// Balanced dials the endpoint that b picks for each connection, which counts as
// that endpoint's load until it is closed. How long the connect took is its
// latency.
//
// If the connect fails, one other endpoint is tried: nothing of the client's has
// been sent.
func Balanced(b Picker) stack.Dialer {
	return func(ctx context.Context, session stack.Session) (*stack.Conn, error) {
		call := new(balance.Call)
		s, err := dialPicked(ctx, b, call, session)
		if err != nil {
			return nil, err
		}
		call.First()
		before := s.OnClose
		s.OnClose = func(err error) {
			call.End(balance.Outcome{GRPC: noGRPC, Err: err})
			if before != nil {
				before(err)
			}
		}
		return s, nil
	}
}

// errLost is how a call ends that a panic has passed. Whoever catches that says more.
var errLost = errors.New("lost to a panic")

// noGRPC is balance.Outcome's word for work that has no gRPC status.
const noGRPC = -1

// dialPicked dials the endpoint that b picks, or else another.
func dialPicked(ctx context.Context, b Picker, call *balance.Call, session stack.Session) (*stack.Conn, error) {
	s, err := dialOne(ctx, b, call, session, balance.Hint{})
	if err == nil || !errors.Is(err, stack.ErrUnsent) || ctx.Err() != nil {
		return s, err
	}
	failed := call.Endpoint().Key()
	s, again := dialOne(ctx, b, call, session, balance.Hint{Avoid: []discover.Key{failed}})
	if again != nil {
		return nil, fmt.Errorf("%w, then: %w", err, again)
	}
	return s, nil
}

func dialOne(ctx context.Context, b Picker, call *balance.Call, session stack.Session, h balance.Hint) (*stack.Conn, error) {
	dial, picked, err := b.Pick(ctx, h)
	if err != nil {
		return nil, err
	}
	*call = picked
	s, err := dial(ctx, session)
	if err != nil {
		call.End(balance.Outcome{GRPC: noGRPC, Err: err})
		return nil, err
	}
	return s, nil
}
