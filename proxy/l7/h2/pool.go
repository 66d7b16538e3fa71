package h2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Pool sends requests to one server over few connections, each shared by many: a
// further one is opened when the server's limit of streams is reached on those that
// there are.
type Pool struct {
	dial   stack.Dialer
	params Params
	ctx    context.Context //nolint:containedctx // of the connections' lives
	state  *codec.Dialling

	conns   atomic.Pointer[[]*client] // never changed, but replaced
	waiting atomic.Int32              // requests that wait for room

	mu      sync.Mutex // guards what follows, and the replacing of conns
	dialing *dialing   // in hand, or nil
	news    chan struct{}
	closed  bool
}

// maxConns bounds a Pool's connections; beyond it requests wait for room.
const maxConns = 256

// NewPool returns a Pool of connections from dial. When ctx is done they take no
// more requests, and each is closed when its last is over. changed, which may be
// nil, is called when what Ready reports may have changed.
func NewPool(ctx context.Context, dial stack.Dialer, p Params, changed func()) *Pool {
	pool := &Pool{dial: dial, params: p, ctx: ctx, news: make(chan struct{})}
	pool.state = codec.NewDialling(p.Backoff, func() {
		pool.resume()
		if changed != nil {
			changed()
		}
	})
	pool.conns.Store(&[]*client{})
	pool.state.Guard = p.Guard
	p.Guard.AfterDone(ctx, stageClient, pool.close)
	return pool
}

// Ready reports whether it makes sense to call Do: not from a failed dial until its
// pause is over, unless there is a connection. It costs little.
func (p *Pool) Ready() bool { return p.state.Ready() || len(*p.conns.Load()) > 0 }

// Do is a stack.Service. What is at hand of the content goes with the head; the rest
// follows from a goroutine of its own, so that the server may answer before it has
// read all.
//
// A server that certainly has not begun on the request, as it says by GOAWAY or by
// REFUSED_STREAM, is the one failure that Do may hide, by tries on other
// connections or again. Its other errors name what failed. Those of them that wrap
// stack.ErrUnsent leave the request as it was.
func (p *Pool) Do(ctx context.Context, r *stack.Request) (*stack.Response, error) {
	if len(*p.conns.Load()) == 0 { // before anything of the content is spent
		if err := p.more(ctx); err != nil {
			return nil, err
		}
	}
	var o outgoing
	if err := o.prepare(ctx, r); err != nil {
		return nil, err
	}
	for tries := 1; ; tries++ {
		st, err := p.begin(ctx, &o)
		if err != nil {
			return nil, o.failed(err)
		}
		resp, err := st.exchange(ctx, &o)
		if err == nil {
			return resp, nil
		}
		if pulled := st.end(err); pulled {
			return nil, codec.Spent(err)
		}
		if !errors.Is(err, stack.ErrUnsent) || tries == maxTries {
			return nil, o.failed(err)
		}
	}
}

// exchange waits for the answer to what has been begun.
func (st *clientStream) exchange(ctx context.Context, o *outgoing) (*stack.Response, error) {
	returned := false
	defer func() {
		if !returned { // a panic passes: nobody else knows of the stream
			st.end(errBroken)
		}
	}()
	if st.whole {
		o.release()
	}
	resp, err := st.await(ctx)
	if err == nil {
		o.answered(st)
		stack.Hold(ctx, resp)
	}
	returned = true
	return resp, err
}

// maxTries bounds how often a request is sent whose server refuses to look at it.
const maxTries = 3

// begin sends o on a connection that has room for it, on a new one if need be.
func (p *Pool) begin(ctx context.Context, o *outgoing) (*clientStream, error) {
	for {
		for _, cl := range *p.conns.Load() {
			if st := cl.begin(o); st != nil {
				return st, nil
			}
		}
		if err := p.more(ctx); err != nil {
			return nil, err
		}
	}
}

// more waits until there may be room for another stream.
func (p *Pool) more(ctx context.Context) error {
	stack.Waiting(ctx)
	others := int(p.waiting.Add(1)) - 1
	defer p.waiting.Add(-1)
	w, err := p.wait(others)
	if err != nil || w.d == nil {
		return err
	}
	select {
	case <-w.d.done:
		return w.d.err
	case <-w.late:
		return w.d.why
	case <-w.news:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A wait is what a request waits for, beside the end of its own.
type wait struct {
	d          *dialing // nil if there is room
	late, news chan struct{}
}

// wait returns what is to be waited for, and has another connection opened if that
// makes room.
func (p *Pool) wait(others int) (wait, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return wait{}, fmt.Errorf("%w: %w", stack.ErrUnsent, errDrained)
	}
	conns := *p.conns.Load()
	room, settled := look(conns)
	if room {
		return wait{}, nil
	}
	if settled && p.dialing == nil && len(conns) < maxConns {
		p.startDial()
	}
	d := p.dialing
	if d == nil {
		return wait{d: &dialing{}, news: p.news}, nil // whose end nobody waits for
	}
	if len(conns) == 0 {
		if err := p.expect(d, others); err != nil {
			return wait{}, err
		}
	}
	return wait{d, d.late, p.news}, nil
}

// look reports whether there is room for a stream, and whether every connection
// whose streams are exhausted has said how many it takes.
func look(conns []*client) (room, settled bool) {
	settled = true
	for _, cl := range conns {
		cl.conn.mu.Lock()
		room = room || cl.conn.usable()
		settled = settled && (cl.conn.settled || cl.conn.away)
		cl.conn.mu.Unlock() // nothing between can panic
	}
	return room, settled
}

// startDial opens one connection for all who wait. It is not one request's, whose
// client might leave. The caller holds mu.
func (p *Pool) startDial() {
	d := &dialing{done: make(chan struct{})}
	p.dialing = d
	go p.tryGuarded(d)
}

// try dials once. Unless that has failed, and another dial is to follow, it ends d.
func (p *Pool) try(d *dialing) {
	nc, err := p.dialOnce()
	p.state.Dialled(p.ctx, err)
	if err == nil {
		p.add(nc)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil || !p.failed(d, err) {
		p.settle(err)
	}
}

// add takes a new connection into use.
func (p *Pool) add(nc *stack.Conn) {
	cl := newClient(p, nc)
	cl.conn.greet()
	if !p.keep(cl) {
		cl.retire()
	}
	go cl.runGuarded()
}

// keep reports whether p is to use cl.
func (p *Pool) keep(cl *client) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.replace(append(slices.Clone(*p.conns.Load()), cl))
	}
	return !p.closed
}

// drop forgets a connection that is over.
func (p *Pool) drop(cl *client) {
	p.mu.Lock()
	p.replace(slices.DeleteFunc(slices.Clone(*p.conns.Load()), func(c *client) bool { return c == cl }))
	p.mu.Unlock()
	p.changed()
}

// replace is called with mu held.
func (p *Pool) replace(conns []*client) { p.conns.Store(&conns) }

// changed has those look again who wait for room.
func (p *Pool) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.news)
	p.news = make(chan struct{})
}

// close lets each connection end with its last stream.
func (p *Pool) close() {
	p.state.Close()
	p.mu.Lock()
	p.closed = true
	conns := *p.conns.Load()
	if p.dialing != nil && p.dialing.paused {
		p.settle(fmt.Errorf("%w: %w", stack.ErrUnsent, errDrained))
	}
	p.mu.Unlock()
	for _, cl := range conns {
		cl.retire()
	}
	p.changed()
}
