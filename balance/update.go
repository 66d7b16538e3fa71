package balance

import (
	"context"
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/guard"
)

// Update makes s the endpoints to pick from. Those that were there keep their
// estimate and their calls in hand, and their service too unless it depends on
// what changed ([discover.Endpoint.SameClient]); then the old one serves until
// the new one is ready. Those that are missing are out at once, and what they
// have in hand goes on to its end.
//
// If a Build panics, so does Update, and what was before stands.
//
// One goroutine calls Update. It costs time in proportion to the endpoints.
func (b *Balancer[S]) Update(s discover.Set) {
	b.asking.Lock()
	defer b.asking.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	old := b.members.Load()
	next, differs := b.merge(old, s)
	b.members.Store(next)
	if !differs {
		return
	}
	b.updates.Add(1)
	b.dirty.Store(true)
	b.look()
	for key, e := range old.byKey { // after the swap, so that no Pick finds them cancelled
		if next.byKey[key] == nil {
			e.forget()
			e.gone()
		}
	}
}

// merge returns the members that s says, made of the old ones as far as they
// serve, and whether they differ.
func (b *Balancer[S]) merge(old *members[S], s discover.Set) (next *members[S], differs bool) {
	next = &members[S]{
		heard: true, exists: s.Exists, stale: s.Stale,
		all:   make([]*endpoint[S], 0, len(s.Endpoints)),
		byKey: make(map[discover.Key]*endpoint[S], len(s.Endpoints)),
	}
	now := b.c.Now()
	merged := false
	defer func() {
		if !merged { // a panic passes: the old members stand, and what was opened for the new ones goes
			b.undo(old, next)
		}
	}()
	for i := range s.Endpoints {
		of := &s.Endpoints[i]
		key := of.Key()
		if next.byKey[key] != nil {
			continue // named twice: the first stands
		}
		was := old.byKey[key]
		e := b.endpoint(was, of, now)
		next.all, next.byKey[key] = append(next.all, e), e
		differs = differs || e != was
	}
	merged = true
	return next, differs || len(next.all) != len(old.all)
}

// undo lets go of what next has and old has not.
func (b *Balancer[S]) undo(old, next *members[S]) {
	for _, e := range next.all {
		if was := old.byKey[e.of.Key()]; was == nil || !was.of.SameClient(e.of) {
			e.gone()
		}
	}
}

// endpoint returns what is to serve of, where was did until now if it is not nil.
func (b *Balancer[S]) endpoint(was *endpoint[S], of *discover.Endpoint, now time.Duration) *endpoint[S] {
	switch {
	case was == nil:
		return b.open(of, newLoad(b.c.DefaultRTT, b.c.Decay, now))
	case was.of == *of:
		return was
	case was.of.SameClient(*of):
		e := *was
		e.of = *of
		return &e
	default:
		e := b.open(of, was.load)
		e.was = was.heir()
		return e
	}
}

func (b *Balancer[S]) open(of *discover.Endpoint, l *load) *endpoint[S] {
	ctx, gone := context.WithCancel(b.ctx) // called as the endpoint goes
	built := false
	defer func() {
		if !built { // a panic passes, and what is half built goes
			gone()
		}
	}()
	guard.Point("endpoint built")
	svc, ready := b.build(ctx, *of, b.changed)
	built = true
	return &endpoint[S]{of: *of, svc: svc, ready: ready, gone: gone, load: l}
}
