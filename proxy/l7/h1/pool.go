package h1

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Pool sends requests to one server, each on a connection that nothing else
// uses meanwhile, and keeps the connections that are left clean. Requests for
// different authorities, or in different forms, never share a connection.
type Pool struct {
	dial   stack.Dialer
	params *Params
	state  *codec.Dialling

	mu       sync.Mutex
	idle     map[poolKey]*[]*conn // the one used last is last
	count    int                  // of idle connections
	lastKey  poolKey              // of the connection put last, and where it was
	lastUsed *[]*conn
	sweep    *time.Timer   // runs while there is one
	keep     time.Duration // how long the server is thought to keep them
	closed   bool
	learned  time.Duration // when that was
}

type poolKey struct {
	authority string
	absolute  bool
}

// maxKeys bounds how many authorities a Pool keeps connections for at once.
const maxKeys = 1024

// NewPool returns a Pool of connections from dial. When ctx is done the idle ones
// are closed, and each of the others when its exchange is over. changed, which
// may be nil, is called when what Ready reports may have changed.
func NewPool(ctx context.Context, dial stack.Dialer, p Params, changed func()) *Pool {
	pool := &Pool{
		dial: dial, params: &p, state: codec.NewDialling(p.Backoff, changed),
		keep: p.Idle, idle: make(map[poolKey]*[]*conn),
	}
	pool.state.Guard = p.Guard
	p.Guard.AfterDone(ctx, pooling, pool.close)
	return pool
}

// pooling is where what panics while connections idle is caught.
const pooling = "http1 pool"

// Do is a stack.Service. It writes the request from a goroutine of its own, so
// that the server may answer before it has read all, or on the caller's if the
// content is empty or at hand. Requests in HTTP/1.0, without a host, and those
// that want a tunnel, get a connection to themselves.
//
// A kept connection that took no byte of the request is the one failure that Do
// may hide, by one more try on a new connection. Its other errors name what
// failed; of them, those that wrap stack.ErrUnsent leave the request as it was.
func (p *Pool) Do(ctx context.Context, r *stack.Request) (*stack.Response, error) {
	key, keeps := keyOf(r)
	var unsent *conn
	if keeps {
		if c := p.take(key); c != nil {
			resp, err := c.exchange(ctx, r, nil)
			if err == nil || !errors.Is(err, stack.ErrUnsent) {
				return resp, err
			}
			p.learn(stack.Clock() - c.since)
			unsent = c
		}
	}
	stack.Waiting(ctx)
	nc, err := p.dial(ctx, stack.HTTP1Session)
	p.state.Dialled(ctx, err)
	if err != nil && unsent != nil {
		unsent.close()
		return nil, codec.Spent(err)
	}
	if err != nil {
		return nil, err
	}
	return newConn(p, nc, key, keeps).exchange(ctx, r, unsent)
}

// keyOf returns where a connection that r is sent on may be kept, if it may.
func keyOf(r *stack.Request) (poolKey, bool) {
	keeps := r.Version != stack.HTTP10 && r.Authority != "" && !r.WantsTunnel() &&
		(r.Form != stack.OriginForm || r.Version == stack.HTTP2 || r.Header.Get("host") != "")
	return poolKey{r.Authority, r.Form == stack.AbsoluteForm}, keeps
}

// Ready reports whether it makes sense to call Do: not from a failed dial until
// its pause is over. It costs one atomic load. A Pool that has yet to dial is
// ready.
func (p *Pool) Ready() bool { return p.state.Ready() }

// bucket returns where the connections for key are kept, or nil. Most Pools have
// one key, and need not look for it. Callers hold mu.
func (p *Pool) bucket(key poolKey) *[]*conn {
	if p.lastUsed != nil && p.lastKey == key {
		return p.lastUsed
	}
	return p.idle[key]
}

// take returns a kept connection that the server has not closed, or nil.
func (p *Pool) take(key poolKey) *conn {
	for {
		p.mu.Lock()
		kept := p.bucket(key)
		if kept == nil || len(*kept) == 0 {
			p.mu.Unlock()
			return nil
		}
		last := len(*kept) - 1
		c := (*kept)[last]
		(*kept)[last] = nil
		*kept = (*kept)[:last]
		p.count--
		keep := p.keep
		p.mu.Unlock()
		c.warm()
		age := stack.Clock() - c.since
		switch {
		case c.wr == nil && c.stale(): // else WriteRead looks, for less
			p.learn(age)
		case age < keep:
			return c
		}
		c.close()
	}
}

// learn notes that the server has closed a connection idle for that long, so
// that others are given up before: a request that meets the close is lost.
func (p *Pool) learn(age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shorten(age)
}

// shorten is learn for whoever holds mu. What was learned is forgotten after a
// while: a server that was started anew has closed young connections too.
func (p *Pool) shorten(age time.Duration) {
	if d := max(age*4/5, time.Millisecond); d < p.keep {
		p.keep, p.learned = d, stack.Clock()
	}
}

// relearn is for how long a Pool believes what it has learned.
const relearn = time.Minute

// put keeps c for the next request, if there is room.
func (p *Pool) put(c *conn) {
	c.in.idle()
	c.since = stack.Clock()
	p.mu.Lock()
	kept := p.room(c.key)
	if kept == nil {
		p.mu.Unlock()
		c.close()
		return
	}
	*kept = append(*kept, c)
	p.lastKey, p.lastUsed = c.key, kept
	p.count++
	if p.keep < p.params.Idle && c.since-p.learned > relearn {
		p.keep = p.params.Idle
	}
	if p.sweep == nil {
		p.sweep = p.params.Guard.AfterFunc(p.pace(), pooling, p.sweepIdle)
	}
	p.mu.Unlock()
}

// room returns where a connection of that key is kept, or nil if there is no room
// for another. The caller holds mu.
func (p *Pool) room(key poolKey) *[]*conn {
	if p.closed || p.count >= p.params.MaxIdle {
		return nil
	}
	kept := p.bucket(key)
	if kept == nil && len(p.idle) < maxKeys {
		kept = new([]*conn)
		p.idle[key] = kept
	}
	return kept
}

// pace is how often idle connections are looked at.
func (p *Pool) pace() time.Duration { return max(p.params.Idle/4, time.Millisecond) }

// sweepIdle closes the connections that have been idle for too long, or that the
// server has closed.
func (p *Pool) sweepIdle() {
	for _, c := range p.idleTooLong() {
		c.close()
	}
}

// idleTooLong takes out what sweepIdle closes.
func (p *Pool) idleTooLong() (gone []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := stack.Clock()
	for key, kept := range p.idle {
		live := (*kept)[:0]
		for _, c := range *kept {
			age := now - c.since
			if c.stale() {
				p.shorten(age)
			} else if age < p.keep {
				live = append(live, c)
				continue
			}
			gone = append(gone, c)
		}
		clear((*kept)[len(live):])
		if *kept = live; len(live) == 0 {
			delete(p.idle, key)
			p.lastUsed = nil
		}
	}
	p.count -= len(gone)
	if p.count > 0 {
		p.sweep.Reset(p.pace())
	} else {
		p.sweep = nil
	}
	return gone
}

// close ends the idle connections, and the timers.
func (p *Pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle, p.count, p.lastUsed = nil, 0, nil
	if p.sweep != nil {
		p.sweep.Stop()
	}
	p.mu.Unlock()
	p.state.Close()
	for _, kept := range idle {
		for _, c := range *kept {
			c.close()
		}
	}
}
