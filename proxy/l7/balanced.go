package l7

import (
	"context"
	"errors"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Balanced gives each request to the endpoint that b picks. One that certainly
// did not reach its endpoint, as when that refuses to be dialled, is given to
// another, once, if another is ready.
func Balanced(b *balance.Balancer[stack.Service]) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		stack.Waiting(ctx) // Pick may wait
		next, call, err := b.Pick(ctx, balance.Hint{})
		if err != nil {
			return nil, err
		}
		resp, err := next(ctx, r)
		if err != nil {
			call.End(balance.Outcome{GRPC: -1, Err: err})
			if !errors.Is(err, stack.ErrUnsent) || ctx.Err() != nil {
				return nil, err
			}
			return elsewhere(ctx, b, r, call.Endpoint().Key(), err)
		}
		observeCall(resp, call)
		return resp, nil
	}
}

// elsewhere gives r to another endpoint than the one that failed with first, if
// one is ready now.
func elsewhere(ctx context.Context, b *balance.Balancer[stack.Service], r *stack.Request, not discover.Key, first error) (*stack.Response, error) {
	now, cancel := context.WithCancel(ctx)
	cancel() // not to wait: the failure is known, and is the better answer
	next, call, err := b.Pick(now, balance.Hint{Avoid: []discover.Key{not}})
	if err != nil {
		return nil, first
	}
	if call.Endpoint().Key() == not {
		call.End(balance.Outcome{GRPC: -1, Err: first})
		return nil, first
	}
	resp, err := next(ctx, r)
	if err != nil {
		call.End(balance.Outcome{GRPC: -1, Err: err})
		return nil, err
	}
	observeCall(resp, call)
	return resp, nil
}

func observeCall(resp *stack.Response, call balance.Call) {
	resp.Observe(&callObserver{call: call, status: resp.Status})
}

// A callObserver reports a call's first data and its end.
type callObserver struct {
	call   balance.Call
	status int
	began  bool
}

func (o *callObserver) Data([]byte) {
	if !o.began {
		o.began = true
		o.call.First()
	}
}

func (o *callObserver) End(err error) {
	o.call.End(balance.Outcome{Status: o.status, GRPC: -1, Err: err})
}
