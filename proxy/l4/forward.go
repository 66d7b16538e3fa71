package l4

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Forward joins each connection to its Server, or else to one from dial, and
// returns when both have ended. Each direction ends by itself, so that either side may go on after the
// other has said all it had to say. An error in either ends both, with a reset:
// what was cut short must not look complete.
//
// If dial fails the client is reset. A context that is done leaves connections
// alone; closing either of the two closes the other.
func Forward(dial stack.Dialer) stack.Handler {
	r := newRelay()
	return func(ctx context.Context, c *stack.Conn) error {
		c.HeldBy(bytesHeld{})
		s, err := serverOf(ctx, c, dial)
		if err != nil {
			return Refuse(c, fmt.Errorf("forward: %w", err))
		}
		return r.join(c, s)
	}
}

// serverOf takes the connection that was opened for c already, or dials.
func serverOf(ctx context.Context, c *stack.Conn, dial stack.Dialer) (*stack.Conn, error) {
	if s := c.Server; s != nil {
		c.Server = nil
		return s, nil
	}
	ctx, cancel := whileOpen(ctx, c)
	defer cancel()
	return dial(ctx, stack.NoSession)
}

// whileOpen returns a context for work on c's behalf that may outlast ctx, which
// says no more than that the proxy drains. It is done when c is closed.
func whileOpen(ctx context.Context, c *stack.Conn) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	below, ok := innermost(c.Conn).(*Conn)
	if !ok {
		return ctx, cancel
	}
	below.afterClose(cancel)
	return ctx, func() { below.afterClose(nil); cancel() }
}

// join copies both ways between a client and a server, and closes both.
func (r *relay) join(client, server *stack.Conn) error {
	p := &pair{relay: r, client: client, server: server, done: make(chan struct{})}
	defer p.closeTogether()()
	go p.answer()
	defer func() { <-p.done }() // also if a panic passes, which is to end both ways
	p.through(server, client)
	<-p.done
	if p.panicked != nil {
		panic(p.panicked) // where it is caught
	}
	if err := p.failed.Load(); err != nil {
		return fmt.Errorf("forward: %w", *err)
	}
	return nil
}

// A pair is two connections that are joined.
type pair struct {
	*relay
	client, server *stack.Conn
	failed         atomic.Pointer[error] // the first failure, after which both are closed
	done           chan struct{}         // closed when the server's half has ended
	panicked       *guard.Carried        // what that has panicked with, if it has
}

// answer is named, not a literal, so that it has a name in goroutine dumps.
func (p *pair) answer() {
	defer close(p.done)
	defer func() {
		if v := recover(); v != nil { // nobody else on this goroutine would
			p.panicked = guard.Carry(v)
			p.fail(errLost)
		}
	}()
	p.half(p.client, p.server)
}

func (p *pair) half(dst, src *stack.Conn) {
	guard.Point("forward")
	if err := p.copy(dst, src); err != nil {
		p.fail(err)
	}
}

// through is half, whose panic ends the other too before it goes on.
func (p *pair) through(dst, src *stack.Conn) {
	ended := false
	defer func() {
		if !ended {
			p.fail(errLost)
		}
	}()
	p.half(dst, src)
	ended = true
}

// fail resets both connections, whereupon both halves end.
func (p *pair) fail(err error) {
	if p.failed.CompareAndSwap(nil, &err) {
		abort(p.client)
		abort(p.server)
	}
}

// closeTogether sees to it that if one connection is closed, so is the other, even
// while both halves wait for the latter. It returns what ends that, and closes
// both.
func (p *pair) closeTogether() (closeBoth func()) {
	cut := func() { p.fail(net.ErrClosed) }
	both := []*stack.Conn{p.client, p.server}
	for _, c := range both {
		if below, ok := innermost(c.Conn).(*Conn); ok {
			below.afterClose(cut)
		}
	}
	return func() {
		for _, c := range both {
			if below, ok := innermost(c.Conn).(*Conn); ok {
				below.afterClose(nil)
			}
			_ = c.Close() // closed already, if it failed
		}
	}
}
