package l7

import (
	"context"
	"errors"
	"sync"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Balanced gives each request to the endpoint that b picks. One that certainly
// did not reach its endpoint, as when that refuses to be dialled, is given to
// another, once, if another is ready.
func Balanced(b *balance.Balancer[stack.Service]) stack.Service {
	pool := newCallObservers()
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		stack.Waiting(ctx) // Pick may wait
		next, call, err := b.Pick(ctx, balance.Hint{Now: stack.Now(ctx)})
		if err != nil {
			return nil, err
		}
		o := pool.Get().(*callObserver) // the pool makes no other
		o.call, o.ctx, o.grpc = call, ctx, r.GRPC()
		returned := false
		defer func() {
			if !returned {
				o.call.End(lost())
			}
		}()
		resp, err := next(ctx, r)
		returned = true
		if err != nil {
			return failed(ctx, b, r, o, err)
		}
		o.observe(resp)
		return resp, nil
	}
}

// failed ends a call that has no response, and gives its request to another
// endpoint if that may be. It is apart from its caller so as to leave that a small
// frame, which lies cold when the response comes.
//
//go:noinline
func failed(ctx context.Context, b *balance.Balancer[stack.Service], r *stack.Request, o *callObserver, err error) (*stack.Response, error) {
	o.call.End(balance.Outcome{GRPC: stack.NoGRPCStatus, Err: err})
	if !errors.Is(err, stack.ErrUnsent) || ctx.Err() != nil {
		return nil, err
	}
	return elsewhere(ctx, b, r, o.call.Endpoint().Key(), err)
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
		call.End(balance.Outcome{GRPC: stack.NoGRPCStatus, Err: first})
		return nil, first
	}
	o := &callObserver{ctx: ctx, call: call, grpc: r.GRPC()}
	returned := false
	defer func() {
		if !returned {
			o.call.End(lost())
		}
	}()
	resp, err := next(ctx, r)
	returned = true
	if err != nil {
		o.call.End(balance.Outcome{GRPC: stack.NoGRPCStatus, Err: err})
		return nil, err
	}
	o.observe(resp)
	return resp, nil
}

// errLost is how a call ends that a panic has passed. Whoever catches that says more.
var errLost = errors.New("lost to a panic")

func lost() balance.Outcome { return balance.Outcome{GRPC: stack.NoGRPCStatus, Err: errLost} }

// A callObserver reports a call's first data and its end. There is one for each
// request, which is used again for another.
type callObserver struct {
	pool   *sync.Pool      // where it goes when it has ended; nil for nowhere
	ctx    context.Context //nolint:containedctx // of the exchange, for its clock
	call   balance.Call
	body   stack.Body // for its trailer
	status int16
	code   int8 // gRPC's, if the head tells it
	grpc   bool
	began  bool
}

func newCallObservers() *sync.Pool {
	pool := &sync.Pool{}
	pool.New = func() any { return &callObserver{pool: pool} }
	return pool
}

func (o *callObserver) observe(resp *stack.Response) {
	o.status, o.code = int16(resp.Status), stack.NoGRPCStatus // three digits
	if o.grpc {
		o.code = int8(resp.Header.GRPCStatus()) // at most 16
	}
	resp.Observe(o)
	o.body = resp.Body
}

// Data implements stack.Observer.
func (o *callObserver) Data([]byte) {
	if !o.began {
		o.began = true
		o.call.FirstAt(stack.Now(o.ctx))
	}
}

// End implements stack.Observer.
func (o *callObserver) End(err error) {
	o.call.End(o.outcome(err))
	pool := o.pool
	if *o = (callObserver{pool: pool}); pool != nil {
		pool.Put(o)
	}
}

// outcome is what the call came to, when the response's body has ended with err.
func (o *callObserver) outcome(err error) balance.Outcome {
	code := int(o.code)
	if o.grpc && code == stack.NoGRPCStatus && err == nil {
		code = o.body.Trailer().GRPCStatus()
	}
	return balance.Outcome{Status: int(o.status), GRPC: code, Err: err}
}
