package proxy

import (
	"context"
	"net/netip"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// The inbound stack takes connections from the mesh to the application:
//
//	redirected ─┐
//	named ──────┴→ find → local ─┬─ not HTTP ──────→ opaque ────────────→ connect
//	                             └─ HTTP/1, HTTP/2 → request → endpoint → connect
//
// Each box is the function of that name below, in that order, and each
// function's layers stand in the order in which a request meets them.
type inbound struct {
	*Proxy
	limit    stack.Layer[stack.Handler] // one, to bound all listeners' connections together
	shed     stack.Layer[stack.Service] // one, to bound all ports' requests together
	inFlight *l7.InFlight               // what shed counts
	policies func(port uint16) *policy.Policy
	ports    *shared[portKey, *port]
	peers    map[bool]*peers // by whether loopback may be reached
}

// A portKey is what a port is kept by. Named listeners may reach what redirected
// connections may not.
type portKey struct {
	addr  netip.AddrPort
	named bool
}

// redirected serves the connections that others opened to this workload, and the
// kernel brought here.
func (i *inbound) redirected() stack.Handler {
	return stack.Chain(
		i.limit, // first, so that what is refused costs least
		i.tcpErrors(telemetry.Inbound),
		l4.OrigDst,
		l4.Allow(i.Config.LocalIPs...), // below OrigDst, whose answer it checks
		l4.RefuseLoops(i.Config.Inbound.Listen...), // below OrigDst too; the direct stack stands here once there is TLS
	)(func(ctx context.Context, c *stack.Conn) error {
		return i.find(ctx, c, portKey{addr: c.OrigDst})
	})
}

// named serves the connections to a listener whose destination is given to it.
func (i *inbound) named(t profiles.Target) stack.Handler {
	return stack.Chain(
		i.limit,
		i.tcpErrors(telemetry.Inbound),
		l4.Fixed(t.Addr), // in place of OrigDst
	)(func(ctx context.Context, c *stack.Conn) error {
		return i.find(ctx, c, portKey{t.Addr, true})
	})
}

// find finds what serves the connection's port, and gives it over.
func (i *inbound) find(ctx context.Context, c *stack.Conn, to portKey) error {
	p, release, err := i.ports.get(context.WithoutCancel(ctx), to, i.local)
	if err != nil {
		return l4.Refuse(c, err)
	}
	defer release()
	return p.serve(ctx, c)
}

// A port serves one port of the application, for as long as anyone uses it.
type port struct {
	policy *policy.Policy
	detect func(*stack.Conn) (l4.Detection, error)
	http1  stack.Handler
	http2  stack.Handler
	opaque stack.Handler
}

// serve tells HTTP from the rest, unless the port's policy already has.
func (p *port) serve(ctx context.Context, c *stack.Conn) error {
	switch p.policy.Protocol {
	case policy.HTTP1:
		return p.http1(ctx, c)
	case policy.HTTP2:
		return p.http2(ctx, c)
	case policy.Opaque:
		return p.opaque(ctx, c)
	case policy.Detect:
	}
	switch d, err := p.detect(c); {
	case err != nil:
		_ = c.Close()
		return err
	case d.Protocol == l4.HTTP1:
		return p.http1(ctx, c)
	case d.Protocol == l4.HTTP2:
		return p.http2(ctx, c)
	default:
		return p.opaque(ctx, c)
	}
}

// local builds what serves one port. What it keeps open ends with ctx.
func (i *inbound) local(ctx context.Context, to portKey) (*port, error) {
	p := &port{policy: i.policies(to.addr.Port())}
	reason := telemetry.NoTLSFromPeer
	if p.policy.Protocol == policy.Opaque {
		reason = telemetry.PortSkippedTLS
	}
	server := serverLabels(p.policy.Server, to.addr.Port())
	p.detect = i.detect(telemetry.Inbound, server, i.Config.Inbound.DetectTimeout)
	labels := telemetry.Inbound.Labels().Join(telemetry.Target(to.addr)).Join(reason.Labels())
	accepted := i.Metrics.Accepted(labels.Join(server))
	svc := i.request(p.policy, to, labels, i.endpoint(ctx, to))
	p.http1 = accepted(h1Handler(svc, i.h1Params(&i.Config.Inbound)))
	p.http2 = accepted(h2Handler(svc, i.h2Params(&i.Config.Inbound)))
	p.opaque = i.opaque(p.policy, accepted, to)
	return p, nil
}

// request is what every HTTP request meets.
func (i *inbound) request(p *policy.Policy, to portKey, labels telemetry.Labels, next stack.Service) stack.Service {
	return stack.Chain(
		l7.Carried,                     // first: what came as HTTP/1 is that to all below, and is answered as such
		l7.Rescue(i.answer(false)),     // above all that fails; why is told to meshed peers only
		l7.RescueGRPC(i.ending(false)), // above all that observes the response, which is to see how it ended
		i.Metrics.HTTPErrors(telemetry.Inbound, telemetry.Target(to.addr).Join(serverLabels(p.Server, to.addr.Port())), kindOf),
		i.shed,        // below Rescue, which answers 503 for it
		l7.StripTwins, // above all that reads the mesh's fields
		l7.ClientID,
		l7.NormalizeURI(func(c *stack.Conn) string { return c.OrigDst.String() }), // above Authorize, which may go by the authority
		l7.Authorize(p),
		i.Metrics.Requests(labels.Join(permitLabels(firstPermit(p), to.addr.Port()))), // below Authorize, whose permit it shows
		l7.Named("server "+to.addr.String()),
	)(next)
}

// endpoint sends requests to the application.
func (i *inbound) endpoint(ctx context.Context, to portKey) stack.Service {
	return i.peers[to.named].client(ctx, discover.Endpoint{Addr: to.addr}, nil).do
}

// opaque sends bytes to the application.
func (i *inbound) opaque(p *policy.Policy, accepted stack.Layer[stack.Handler], to portKey) stack.Handler {
	return stack.Chain(
		l4.Authorize(p), // here and not in find: HTTP clients are told 403, request by request
		accepted,        // below Authorize: what it refuses is not counted as open
	)(l4.Forward(i.connect(to)))
}

// connect opens connections to the application.
func (i *inbound) connect(to portKey) stack.Dialer {
	labels := telemetry.Inbound.Labels().Join(telemetry.Loopback.Labels())
	return i.Metrics.Dialed(labels)(l4.Dial(i.dialConfig(&i.Config.Inbound, to.named), to.addr))
}
