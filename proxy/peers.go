package proxy

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h1"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// peers owns the connections to servers. Backends that have an endpoint in common
// share those to it.
type peers struct {
	guard *guard.Guard
	http1 h1.Params
	http2 func(discover.HTTP2Params) h2.Params
	dial  func(discover.Endpoint) stack.Dialer

	mu   sync.Mutex
	held map[discover.Endpoint]*peer
}

// A peer is the client side of one endpoint: a pool for each version of HTTP, and
// what sends a request by the one that is right for it.
type peer struct {
	http1 *h1.Pool
	http2 *h2.Pool
	do    stack.Service
	end   context.CancelFunc
	users map[*func()]struct{} // whom to tell when the pools' readiness has changed
}

func (p *peer) ready() bool { return p.http1.Ready() && p.http2.Ready() }

// client returns what sends requests to e until ctx is done. changed is called when
// it may have become ready, or unready.
func (ps *peers) client(ctx context.Context, e discover.Endpoint, changed func()) *peer {
	key := e
	key.Weight, key.Zone, key.Labels = 0, 0, "" // no connection depends on them
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.held[key]
	if p == nil {
		p = ps.open(key, e)
	}
	user := &changed
	p.users[user] = struct{}{}
	ps.guard.AfterDone(ctx, stageBuild, func() { ps.leave(key, p, user) })
	return p
}

// open is called with mu held.
func (ps *peers) open(key, e discover.Endpoint) *peer {
	ctx, end := context.WithCancel(context.Background())
	p := &peer{end: end, users: make(map[*func()]struct{})}
	tell := func() { ps.tell(p) }
	p.http1 = h1.NewPool(ctx, ps.dial(e), ps.http1, tell)
	p.http2 = h2.NewPool(ctx, ps.dial(e), ps.http2(e.HTTP2), tell)
	send1 := p.http1.Do
	if e.Hint == discover.HTTP2 { // its own proxy takes HTTP/1 out again
		send1 = l7.Carry(p.http1.Do, p.http2.Do)
	}
	p.do = l7.ByVersion(send1, p.http2.Do)
	if ps.held == nil {
		ps.held = make(map[discover.Endpoint]*peer)
	}
	ps.held[key] = p
	return p
}

func (ps *peers) leave(key discover.Endpoint, p *peer, user *func()) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if delete(p.users, user); len(p.users) == 0 {
		delete(ps.held, key)
		p.end()
	}
}

// tell calls the users without the lock: what they do is theirs to say.
func (ps *peers) tell(p *peer) {
	ps.mu.Lock()
	users := make([]func(), 0, len(p.users))
	for u := range p.users {
		if *u != nil {
			users = append(users, *u)
		}
	}
	ps.mu.Unlock()
	for _, changed := range users {
		changed()
	}
}

// pauses gives the pauses between failed dials.
func pauses(b control.Backoff) func() func() time.Duration {
	return func() func() time.Duration {
		delays := b.Start()
		return delays.Next
	}
}

// h1Params are what connections of one direction are held to.
func (p *Proxy) h1Params(d *Direction) h1.Params {
	c := &p.Config
	return h1.Params{
		HeadTime:    c.HTTP.HeadTime,
		HeadBytes:   c.HTTP.HeadBytes,
		Fields:      c.HTTP.HeadFields,
		Drain:       c.HTTP.DrainBytes,
		DrainTime:   c.HTTP.DrainTime,
		ClientWatch: c.HTTP.ClientWatch,
		Continue:    c.HTTP.Continue,
		Leaving:     p.leaving.Load,
		Quiet:       c.Drain.Idle,
		Crossed:     func(*stack.Conn) { p.crossed.Add(1) },
		Idle:        d.Pool.IdleTimeout,
		MaxIdle:     d.Pool.MaxIdle,
		Backoff:     pauses(d.Connect.Backoff),
		Workers:     &p.scheduler.Workers,
		Guard:       p.guard,
		Reasons:     d == &c.Outbound && !c.QuietErrors,
		Bulk:        bulk(p.memory),
	}
}

// h2Params are what the connections of one direction are held to, its clients' by
// what they are told.
func (p *Proxy) h2Params(d *Direction) h2.Params {
	c, http2 := &p.Config, &d.HTTP2
	return h2.Params{
		HeadTime:          c.HTTP.HeadTime,
		HeadBytes:         min(cmp.Or(int(http2.MaxHeaderListSize), c.HTTP.HeadBytes), maxHeadBytes),
		MaxResets:         http2.MaxPendingResets,
		Fields:            c.HTTP.HeadFields,
		Continue:          c.HTTP.Continue,
		DrainTime:         c.HTTP.DrainTime,
		StreamWindow:      http2.StreamWindow,
		ConnWindow:        http2.ConnWindow,
		MaxStreams:        http2.MaxStreams,
		MaxFrameSize:      http2.MaxFrameSize,
		MaxSendBuffer:     http2.MaxSendBuffer,
		KeepAliveInterval: http2.KeepAliveInterval,
		KeepAliveTimeout:  http2.KeepAliveTimeout, KeepAliveWhileIdle: true,
		Leaving:   p.leaving.Load,
		Scheduler: &p.scheduler,
		Guard:     p.guard,
	}
}

// h2Client returns what connections to servers are held to: as configured, unless
// the control plane has a word on the endpoint.
func (p *Proxy) h2Client(d *Direction) func(discover.HTTP2Params) h2.Params {
	base := p.h2Params(d)
	base.StreamWindow, base.ConnWindow = p.Config.HTTP2.StreamWindow, p.Config.HTTP2.ConnWindow
	base.HeadBytes = p.Config.HTTP.HeadBytes
	base.MaxFrameSize, base.MaxSendBuffer, base.MaxStreams, base.MaxResets = 0, 0, 0, 0
	base.KeepAliveInterval, base.KeepAliveTimeout, base.KeepAliveWhileIdle = 0, 0, false
	base.Leaving = nil
	base.Backoff = pauses(d.Connect.Backoff)
	if d == &p.Config.Inbound { // outbound requests wait in a balancer's queue, for any endpoint
		base.Patience = h2.Patience{Time: d.HTTPQueue.FailFast, Requests: d.HTTPQueue.Capacity}
	}
	return func(e discover.HTTP2Params) h2.Params {
		own := base
		own.StreamWindow = cmp.Or(e.StreamWindow, base.StreamWindow)
		own.ConnWindow = cmp.Or(e.ConnWindow, base.ConnWindow)
		own.MaxFrameSize, own.MaxSendBuffer = e.MaxFrameSize, int(e.MaxSendBuffer)
		own.KeepAliveInterval, own.KeepAliveTimeout = e.KeepAliveInterval, e.KeepAliveTimeout
		own.KeepAliveWhileIdle = e.KeepAliveWhileIdle
		return own
	}
}
