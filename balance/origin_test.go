package balance_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/tls"
)

const (
	rtt      = 30 * time.Millisecond
	decay    = 10 * time.Second
	failFast = 3 * time.Second
)

func config() balance.Config {
	return balance.Config{Name: "web:80", DefaultRTT: rtt, Decay: decay, FailFast: failFast, Capacity: 100}
}

func addr(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Loopback(), port) }

func at(port uint16) discover.Endpoint { return discover.Endpoint{Addr: addr(port), Weight: 10000} }

func set(es ...discover.Endpoint) discover.Set { return discover.Set{Exists: true, Endpoints: es} }

func ports(ps ...uint16) discover.Set {
	s := set()
	for _, p := range ps {
		s.Endpoints = append(s.Endpoints, at(p))
	}
	return s
}

// An origin is the service of one endpoint. It is ready until it is told not to
// be.
type origin struct {
	of      discover.Endpoint
	ctx     context.Context
	changed func()

	mu   sync.Mutex
	down bool
	why  error
}

func (o *origin) ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.down
}

// Unready makes an origin an Explainer.
func (o *origin) Unready() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

// set tells that it is up or down while it holds the lock that ready takes, as
// it may.
func (o *origin) set(up bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = !up
	o.changed()
}

func (o *origin) gone() bool { return o.ctx.Err() != nil }

// Origins are all that a balancer has built, in the order in which it did.
type origins struct {
	born func(*origin) // may be nil
	mu   sync.Mutex
	all  []*origin
}

func (os *origins) build(ctx context.Context, e discover.Endpoint, changed func()) (*origin, func() bool) {
	o := &origin{of: e, ctx: ctx, changed: changed}
	if os.born != nil {
		os.born(o)
	}
	os.mu.Lock()
	defer os.mu.Unlock()
	os.all = append(os.all, o)
	return o, o.ready
}

// of returns the origins that were built for a port.
func (os *origins) of(port uint16) []*origin {
	os.mu.Lock()
	defer os.mu.Unlock()
	var found []*origin
	for _, o := range os.all {
		if o.of.Addr.Port() == port {
			found = append(found, o)
		}
	}
	return found
}

func down(o *origin) { o.down = true }

// fleet returns a balancer over origins, as born makes them.
func fleet(t *testing.T, c balance.Config, born func(*origin)) (*balance.Balancer[*origin], *origins) {
	t.Helper()
	os := &origins{born: born}
	return balance.New(t.Context(), c, os.build), os
}

// view returns how the endpoint at port stands.
func view(t *testing.T, b *balance.Balancer[*origin], port uint16) balance.EndpointView {
	t.Helper()
	for _, e := range b.View().Endpoints {
		if e.Endpoint.Addr.Port() == port {
			return e
		}
	}
	t.Fatalf("no endpoint has port %d", port)
	return balance.EndpointView{}
}

// pick picks without waiting long, and fails the test if it cannot.
func pick(t *testing.T, b *balance.Balancer[*origin]) (*origin, balance.Call) {
	t.Helper()
	o, call, err := b.Pick(t.Context(), balance.Hint{})
	if err != nil {
		t.Fatal(err)
	}
	return o, call
}

var other = tls.ID("web.demo.serviceaccount.identity.linkerd.cluster.local")
