package h2

import (
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Where panics are caught.
const (
	stageReader  = "http2 reader"  // costs a client's connection
	stageClient  = "http2 client"  // costs a server's
	stageStream  = "http2 stream"  // costs a stream, which is answered 500 if it can be
	stageContent = "http2 content" // costs a stream of a server's
	stageWriter  = "http2 writer"  // costs the connection that is written
	stageTimer   = "http2 timer"   // costs the connection whose it is
	stageDial    = "http2 dial"    // costs a dial
)

// errBroken ends a connection on which somebody has panicked who held its mutex: what
// that guards may be half changed.
var errBroken = errors.New("lost to a panic")

// unlock ends a critical section, as a deferred call. If a panic ends it, the connection
// ends with it, and the panic goes on. (To recover and panic anew keeps the stack.)
func (c *conn) unlock() {
	if v := recover(); v != nil {
		c.breakOff()
		c.mu.Unlock()
		panic(v)
	}
	c.mu.Unlock()
}

// breakOff has the connection's reader end, which tells every stream. The caller holds
// mu.
func (c *conn) breakOff() {
	if c.err == nil {
		c.err = c.brokenErr()
	}
	c.away = true
	if c.werr == nil {
		c.werr = errBroken // who writes, or waits for a write, gives up
	}
	c.relief.wake()
	_ = c.params.Guard.Do(stageWriter, func() { _ = c.nc.Close() })
}

// brokenErr is what the streams of a connection are told that ends by a panic: of a
// client that it is not there any more, as otherwise, and of a server that it failed.
func (c *conn) brokenErr() error {
	if c.server != nil {
		return fmt.Errorf("%w: %w", codec.ErrClientGone, errBroken)
	}
	return &codec.ResponseError{Reason: errBroken.Error()}
}

// outside calls f without mu, for who holds it, and takes it again even if f panics:
// whoever has taken it gives it back.
func (c *conn) outside(f func()) {
	c.mu.Unlock()
	defer c.mu.Lock()
	f()
}

// lost is told what a goroutine of c's own, that is no stream's, has panicked with. The
// connection ends.
func (c *conn) lost(stage string, v any) {
	_ = c.params.Guard.Caught(stage, v, "peer", c.nc.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breakOff()
}

// guarded calls f, on a goroutine of its own as a rule, and ends the connection if it
// panics.
func (c *conn) guarded(stage string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.lost(stage, v)
		}
	}()
	f()
}

// flushGuarded is flush for whoever writes on the connections of others, who are to
// lose nothing by c's end.
func (c *conn) flushGuarded() {
	defer func() {
		if v := recover(); v != nil {
			c.lost(stageWriter, v)
		}
	}()
	c.flush()
}

// receive is read, with a panic made an error that ends the connection.
func (c *conn) receive(stage string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.params.Guard.Caught(stage, v, "peer", c.nc.RemoteAddr())
			c.leaveBatch()
		}
	}()
	return c.read()
}

// leaveBatch ends the batch that a panic has ended: others wait for its end before they
// write. The streams that it was to tell are told with the connection's end.
func (c *conn) leaveBatch() {
	c.mu.Lock()
	c.breakOff()
	kept := c.touched[:0]
	for _, n := range c.touched {
		if n.st != nil {
			n.st.touched = true
			kept = append(kept, n)
		}
	}
	clear(c.touched[len(kept):])
	c.touched = kept
	c.mu.Unlock()
	if c.inBatch {
		c.inBatch = false
		c.sched.batches.Add(-1)
		c.sched.flush()
	}
}

// caught is deferred by a stream's job. The client is answered 500, if nothing of
// another answer has gone, and else its stream is reset.
func (st *serverStream) caught() {
	v := recover()
	if v == nil {
		return
	}
	c := st.c
	g := c.params.Guard
	err := g.Caught(stageStream, v, "client", c.nc.Client, "server", c.nc.OrigDst)
	if st.over {
		return // in finish, whose own part is done, and the connection is lost
	}
	_ = g.Do(stageStream, func() { st.x.Abandon(err) })
	var why error = &stack.ResetError{Code: stack.InternalError, Cause: err.Error()}
	_ = g.Do(stageStream, func() {
		if !st.answering() {
			why = st.respond(&stack.Response{Status: 500, Body: stack.Empty()})
		}
	})
	_ = g.Do(stageStream, func() { st.finish(why) })
}

// answering reports whether it is too late for another answer.
func (st *serverStream) answering() bool {
	st.c.mu.Lock()
	defer st.c.unlock()
	return st.send.st != nil || st.sendErr != nil || st.sendEnd || st.c.err != nil
}

// unfinished is told that finish was ended by a panic: Serve waits for every stream.
func (st *serverStream) unfinished() {
	c := st.server.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breakOff()
	st.server.running--
	st.server.ended.wake()
}

// caught is deferred by a pump. Its stream ends, since its content broke off.
func (p *pump) caught() {
	v := recover()
	if v == nil {
		return
	}
	g := p.st.c.params.Guard
	err := g.Caught(stageContent, v, "server", p.st.c.nc.RemoteAddr())
	_ = g.Do(stageContent, func() { p.failed(err) })
}

// tryGuarded is try on a goroutine of its own: those who wait for d are told, whatever
// happens.
func (p *Pool) tryGuarded(d *dialing) {
	g := p.params.Guard
	defer func() {
		if v := recover(); v != nil {
			p.lost(d, g.Caught(stageDial, v))
		}
	}()
	p.try(d)
}

func (p *Pool) lost(d *dialing, err *guard.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialing == d {
		p.settle(fmt.Errorf("%w: %w", stack.ErrUnsent, err))
	}
}

// dialOnce dials, with a panic made the dial's error.
func (p *Pool) dialOnce() (nc *stack.Conn, err error) {
	if lost := p.params.Guard.Do(stageDial, func() { nc, err = p.dial(p.ctx, stack.HTTP2Session) }); lost != nil {
		return nil, fmt.Errorf("%w: %w", stack.ErrUnsent, lost)
	}
	return nc, err
}

// runGuarded is run on a goroutine of its own: a connection that cannot even be ended is
// closed, and its streams' requests fail by that.
func (cl *client) runGuarded() {
	defer func() {
		if v := recover(); v != nil {
			cl.conn.lost(stageClient, v)
			_ = cl.pool.params.Guard.Do(stageClient, func() { cl.pool.drop(cl) })
		}
	}()
	cl.run()
}
