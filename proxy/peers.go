package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h1"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// peers owns the connections to servers. Backends that have an endpoint in common
// share those to it.
type peers struct {
	params h1.Params
	dial   func(discover.Endpoint) stack.Dialer

	mu   sync.Mutex
	held map[discover.Endpoint]*peer
}

// A peer is the client side of one endpoint.
type peer struct {
	pool  *h1.Pool
	end   context.CancelFunc
	users map[*func()]struct{} // whom to tell when the pool's readiness has changed
}

// client returns what sends requests to e until ctx is done. changed is called
// when it may have become ready, or unready.
func (ps *peers) client(ctx context.Context, e discover.Endpoint, changed func()) *h1.Pool {
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
	context.AfterFunc(ctx, func() { ps.leave(key, p, user) })
	return p.pool
}

// open is called with mu held.
func (ps *peers) open(key, e discover.Endpoint) *peer {
	ctx, end := context.WithCancel(context.Background())
	p := &peer{end: end, users: make(map[*func()]struct{})}
	p.pool = h1.NewPool(ctx, ps.dial(e), ps.params, func() { ps.tell(p) })
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
		Idle:        d.Pool.IdleTimeout,
		MaxIdle:     d.Pool.MaxIdle,
		Backoff:     pauses(d.Connect.Backoff),
		Reasons:     d == &c.Outbound && !c.QuietErrors,
	}
}
