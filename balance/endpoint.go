package balance

import (
	"context"

	"github.com/outrigger-mesh/outrigger/discover"
)

// An endpoint is one that a Pick may return. But for was it never changes: what
// the control plane changes makes another, which shares what is kept.
type endpoint[S any] struct {
	of    discover.Endpoint
	svc   S
	ready func() bool
	gone  context.CancelFunc
	load  *load // shared by all that had this Key, one after the other

	// What served this Key before, and still does until svc is ready; else nil.
	// Only the holder of Balancer.asking uses it.
	was *endpoint[S]
}

func (e *endpoint[S]) isReady() bool { return e.ready == nil || e.ready() }

// serving returns what can serve e now, or nil. A predecessor is let go of as
// soon as it is not needed.
func (e *endpoint[S]) serving() *endpoint[S] {
	switch {
	case e.isReady():
		e.forget()
		return e
	case e.was != nil && e.was.isReady():
		return e.was
	default:
		return nil
	}
}

func (e *endpoint[S]) forget() {
	if e.was != nil {
		e.was.gone()
		e.was = nil
	}
}

// heir returns what is to serve until e's successor is ready: e, unless e has
// not become ready itself.
func (e *endpoint[S]) heir() *endpoint[S] {
	if e.was == nil || e.isReady() {
		e.forget()
		return e
	}
	e.gone()
	return e.was
}

// Members are all endpoints of a destination, as the control plane last said.
// They never change.
type members[S any] struct {
	heard  bool // whether it has said anything yet
	exists bool
	stale  bool
	all    []*endpoint[S]
	byKey  map[discover.Key]*endpoint[S]
}

// serving returns those that can be picked. Weight zero means never, unless all
// have it.
func (m *members[S]) serving() []*endpoint[S] {
	weighed := false
	for _, e := range m.all {
		weighed = weighed || e.of.Weight > 0
	}
	ready := make([]*endpoint[S], 0, len(m.all))
	for _, e := range m.all {
		if weighed && e.of.Weight == 0 {
			continue
		}
		if s := e.serving(); s != nil {
			ready = append(ready, s)
		}
	}
	return ready
}
