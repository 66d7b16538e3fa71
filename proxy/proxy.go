// Package proxy is the sidecar: it listens, and gives each connection to the
// inbound or the outbound stack. It knows what stands where, and no protocol's
// bytes. Read inbound.go or outbound.go first; each is its stack, from the top
// down.
package proxy

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h1"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/pressure"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/tee"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
	"github.com/outrigger-mesh/outrigger/tls"
)

// A Proxy is one sidecar.
type Proxy struct {
	Config   Config
	Log      *slog.Logger
	Resolver discover.Resolver
	Profiles Watcher
	Metrics  *telemetry.Metrics
	Identity *tls.Store // nil if it has none, on purpose
	Tee      *tee.Tee   // on which what keeps or shows contents is hung

	// Destination and Policy are the control plane's services, to say why they
	// do not answer; either may be nil.
	Destination, Policy *control.Client

	guard    *guard.Guard     // is told of panics
	memory   *pressure.Memory // nil if there is no limit
	overload *overload        // set before anything is served; nil in some tests

	scheduler h2.Scheduler   // of all HTTP/2 connections
	keepers   sync.WaitGroup // what keeps Identity fresh

	leaving   atomic.Bool  // clients are asked to leave: the lame-duck time has begun
	crossed   atomic.Int64 // requests that came as their idle connection was closed
	lastWords func(say func(why string))
}

// A Watcher finds profiles: a *profiles.Daemon.
type Watcher interface {
	profiles.Watcher
	// Profiled reports whether t may have a profile at all.
	Profiled(t profiles.Target) bool
}

// outbound returns the stack for connections from the application. What it keeps
// open beyond them ends with close.
func (p *Proxy) outbound() *outbound {
	inFlight := l7.NewInFlight(p.Config.Outbound.MaxInFlight)
	o := &outbound{
		Proxy:        p,
		inFlight:     inFlight,
		limit:        l4.Limit(p.Config.Outbound.MaxConns),
		shed:         inFlight.Shed,
		destinations: &shared[destination, *logical]{idle: p.Config.Outbound.DiscoveryIdle, guard: p.guard},
	}
	o.peers = make(map[bool]*peers)
	for _, named := range []bool{false, true} {
		o.peers[named] = &peers{
			guard: p.guard,
			http1: p.h1Params(&p.Config.Outbound),
			http2: p.h2Client(&p.Config.Outbound),
			dial:  func(e discover.Endpoint) stack.Dialer { return o.connect(e, "", named) },
		}
	}
	return o
}

func (o *outbound) close() { o.destinations.close() }

// inbound returns the stack for connections from the mesh. What it keeps open
// beyond them ends with close.
func (p *Proxy) inbound() *inbound {
	inFlight := l7.NewInFlight(p.Config.Inbound.MaxInFlight)
	i := &inbound{
		Proxy:    p,
		inFlight: inFlight,
		limit:    l4.Limit(p.Config.Inbound.MaxConns),
		shed:     inFlight.Shed,
		policies: p.policies,
		ports:    &shared[portKey, *port]{idle: p.Config.Inbound.DiscoveryIdle, guard: p.guard},
	}
	i.peers = make(map[bool]*peers)
	for _, named := range []bool{false, true} {
		i.peers[named] = &peers{
			guard: p.guard,
			http1: p.h1Params(&p.Config.Inbound),
			http2: p.h2Client(&p.Config.Inbound),
			dial:  func(e discover.Endpoint) stack.Dialer { return i.connect(portKey{e.Addr, named}) },
		}
	}
	return i
}

func (i *inbound) close() { i.ports.close() }

// policies gives each port the default policy, which is all that is built.
func (p *Proxy) policies(port uint16) *policy.Policy {
	if p.Config.Policy.OpaquePorts.Contains(port) {
		return policy.AllUnauthenticated(policy.Opaque)
	}
	return policy.AllUnauthenticated(policy.Detect)
}

// firstPermit is the permit of the one authorization that a default policy has.
func firstPermit(p *policy.Policy) policy.Permit {
	return policy.Permit{Server: p.Server, Route: policy.Meta{Kind: "default", Name: "default"}, Authorization: p.Authorizations[0].Meta}
}

// A detection looks at a connection of one destination, or port.
type detection func(context.Context, *stack.Conn) (l4.Detection, error)

// detect looks by d, for what is called name, and counts what it sees.
func (p *Proxy) detect(dir telemetry.Direction, l telemetry.Labels, name string, d *l4.Detector) detection {
	counts := p.Metrics.Detection(dir, l)
	d.Learned = func() {
		p.Log.Info("the server speaks first: from now on it is dialled before its clients have been silent", "direction", dir, "target", name)
	}
	return func(ctx context.Context, c *stack.Conn) (l4.Detection, error) {
		guard.Point("detect")
		seen, err := d.Detect(ctx, c)
		if err != nil {
			counts.Observe(telemetry.DetectError, seen.Elapsed)
		} else {
			counts.Observe(telemetry.Detected(seen.Result), seen.Elapsed)
		}
		return seen, err
	}
}

// tcpErrors counts the connections that fail below it, and says which were refused.
func (p *Proxy) tcpErrors(d telemetry.Direction) stack.Layer[stack.Handler] {
	return stack.Chain(p.Metrics.TCPErrors(d, acceptedTarget, kindOf), p.logRefused)
}

// balance says how a backend's work is shared: as its policy says, or else as
// configured.
func (p *Proxy) balance(b profiles.Backend, q *Queue) balance.Config {
	c := balance.Config{
		Name:       b.Name,
		DefaultRTT: b.Load.DefaultRTT,
		Decay:      b.Load.Decay,
		FailFast:   q.FailFast,
		Now:        stack.Clock,
		Capacity:   q.Capacity,
		Guard:      p.guard,
	}
	if c.DefaultRTT == 0 {
		c.DefaultRTT = p.Config.Balance.DefaultRTT
	}
	if c.Decay == 0 {
		c.Decay = p.Config.Balance.Decay
	}
	if !q.Asked {
		c.Capacity = max(c.Capacity, int(b.Queue.Capacity))
	}
	return c
}

// dialConfig says how connections of one direction are opened. Only named
// listeners reach loopback.
func (p *Proxy) dialConfig(d *Direction, named bool) l4.DialConfig {
	data := 0
	if p.overload != nil {
		data = p.overload.descriptors.Data
	}
	return l4.DialConfig{
		Data:          data,
		Timeout:       d.Connect.Timeout,
		Keepalive:     d.Connect.Keepalive,
		UserTimeout:   d.Connect.UserTimeout,
		AllowLoopback: named,
	}
}

// h1Handler answers the requests of HTTP/1 on each connection with svc.
func h1Handler(svc stack.Service, p h1.Params) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error { return h1.Serve(ctx, c, svc, &p) }
}

// h2Handler answers the requests of HTTP/2 on each connection with svc.
func h2Handler(svc stack.Service, p h2.Params) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error { return h2.Serve(ctx, c, svc, p) }
}
