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
	"github.com/outrigger-mesh/outrigger/tls"
)

// The inbound stack takes connections from the mesh to the application:
//
//	redirected ─┬→ direct ─┐
//	named ──────┴─→ find ──┴→ local → served ─┬─ not HTTP ──────→ opaque ────────────→ connect
//	                                          └─ HTTP/1, HTTP/2 → request → endpoint → connect
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
		i.reachedDirectly(),            // above RefuseLoops: it is how other sidecars come
		l4.RefuseLoops(i.Config.Inbound.Listen...), // below OrigDst too
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
	return p.accept(ctx, c)
}

// A port serves one port of the application, for as long as anyone uses it.
type port struct {
	to      portKey
	policy  *policy.Policy
	accept  stack.Handler // tells TLS from the rest, and then HTTP, unless the policy already has
	detect  detection
	clients *shared[client, *served]
	next    stack.Service // sends requests to the application
}

// local builds what serves one port. What it keeps open ends with ctx.
func (i *inbound) local(ctx context.Context, to portKey) (*port, error) {
	p := &port{to: to, policy: i.policies(to.addr.Port()), next: i.endpoint(ctx, to)}
	p.detect = i.detect(telemetry.Inbound, serverLabels(p.policy.Server, to.addr.Port()), to.addr.String(), &l4.Detector{
		Timeout: i.Config.Inbound.DetectTimeout,
		Silence: i.Config.Inbound.ServerFirst,
		Dial:    i.connect(to),
		Admits:  p.policy.AdmitsOpaque, // before the dial: the application does not hear of clients that may not reach it
	})
	p.clients = &shared[client, *served]{idle: i.Config.Inbound.DiscoveryIdle}
	context.AfterFunc(ctx, p.clients.close)
	detected := func(ctx context.Context, c *stack.Conn) error { return i.detected(ctx, c, p) }
	switch {
	case p.policy.Protocol == policy.Opaque: // its server may speak first, and then waiting for a ClientHello would be in vain
		p.accept = l4.SkipTLS(detected)
	case i.Identity != nil:
		p.accept = i.quiet(p, l4.Terminate(i.Identity.ServerName(), i.Config.Inbound.DetectTimeout, i.handshake(""))(detected))
	default:
		p.accept = detected
	}
	return p, nil
}

// quiet gives next the connections whose client speaks soon: it may speak TLS. Where it
// is silent, the server is heard, unless it is known that there is one version of HTTP.
func (i *inbound) quiet(p *port, next stack.Handler) stack.Handler {
	if i.Config.Inbound.ServerFirst == 0 || p.policy.Protocol != policy.Detect {
		return next
	}
	return func(ctx context.Context, c *stack.Conn) error {
		if spoke, err := l4.Spoke(c, i.Config.Inbound.ServerFirst); spoke || err != nil {
			return next(ctx, c) // which sees the error again
		}
		seen, err := p.detect(ctx, c)
		if err == nil && l4.MayBeTLS(c) { // it has only been slow
			l4.DropServer(c)
			return next(ctx, c)
		}
		return i.dispatch(ctx, c, p, seen, err)
	}
}

// detected tells HTTP from the rest, unless it is known what the connection carries.
func (i *inbound) detected(ctx context.Context, c *stack.Conn, p *port) error {
	switch {
	case c.TLS == stack.ForeignTLS, p.policy.Protocol == policy.Opaque:
		return i.as(ctx, c, p, (*served).asOpaque)
	case p.policy.Protocol == policy.HTTP1:
		return i.as(ctx, c, p, (*served).asHTTP1)
	case p.policy.Protocol == policy.HTTP2:
		return i.as(ctx, c, p, (*served).asHTTP2)
	}
	seen, err := p.detect(ctx, c)
	return i.dispatch(ctx, c, p, seen, err)
}

// dispatch serves a connection as what it was seen to be.
func (i *inbound) dispatch(ctx context.Context, c *stack.Conn, p *port, seen l4.Detection, err error) error {
	switch {
	case err != nil:
		_ = c.Close()
		return err
	case seen.Protocol == l4.HTTP1:
		return i.as(ctx, c, p, (*served).asHTTP1)
	case seen.Protocol == l4.HTTP2:
		return i.as(ctx, c, p, (*served).asHTTP2)
	default:
		return i.as(ctx, c, p, (*served).asOpaque)
	}
}

// as serves c as what it was found to be, counted as its client's. What clients that
// prove nothing say of themselves is no key: there is no end to it.
func (i *inbound) as(ctx context.Context, c *stack.Conn, p *port, how func(*served) stack.Handler) error {
	if c.TLS == stack.ForeignTLS {
		return how(i.served(p, c))(ctx, c)
	}
	s, release, err := p.clients.get(context.WithoutCancel(ctx), client{c.TLS, c.Peer}, func(context.Context, client) (*served, error) { return i.served(p, c), nil })
	if err != nil {
		return l4.Refuse(c, err)
	}
	defer release()
	return how(s)(ctx, c)
}

// A client is what a port's metrics tell clients apart by.
type client struct {
	tls stack.TLSState
	id  tls.ID
}

// A served is what a port does with connections of one client.
type served struct{ http1, http2, opaque stack.Handler }

func (s *served) asHTTP1() stack.Handler  { return s.http1 }
func (s *served) asHTTP2() stack.Handler  { return s.http2 }
func (s *served) asOpaque() stack.Handler { return s.opaque }

// served builds what serves connections such as c.
func (i *inbound) served(p *port, c *stack.Conn) *served {
	labels := telemetry.Inbound.Labels().Join(telemetry.Target(p.to.addr)).Join(clientLabels(c))
	accepted := i.Metrics.Accepted(labels.Join(serverLabels(p.policy.Server, p.to.addr.Port())))
	svc := i.request(p.policy, p.to, labels, p.next)
	return &served{
		http1:  accepted(h1Handler(svc, i.h1Params(&i.Config.Inbound))),
		http2:  accepted(h2Handler(svc, i.h2Params(&i.Config.Inbound))),
		opaque: i.opaque(p.policy, accepted, i.connect(p.to)),
	}
}

// request is what every HTTP request meets.
func (i *inbound) request(p *policy.Policy, to portKey, labels telemetry.Labels, next stack.Service) stack.Service {
	return stack.Chain(
		l7.Carried,                             // first: what came as HTTP/1 is that to all below, and is answered as such
		l7.OnObserverPanic(i.observerPanicked), // above all that observes
		l7.Rescue(i.answer(false)),             // above all that fails; why is told to meshed peers only
		l7.RescueGRPC(i.ending(false)),         // above all that observes the response, which is to see how it ended
		i.Metrics.HTTPErrors(telemetry.Inbound, telemetry.Target(to.addr).Join(serverLabels(p.Server, to.addr.Port())), kindOf),
		l7.Guarded(i.guard), // below what answers; a panic above it is the codec's to answer
		i.shed,              // below Rescue, which answers 503 for it
		l7.StripTwins,       // above all that reads the mesh's fields
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
func (i *inbound) opaque(p *policy.Policy, accepted stack.Layer[stack.Handler], dial stack.Dialer) stack.Handler {
	return stack.Chain(
		l4.CloseUnused,  // above all that may refuse
		l4.Authorize(p), // here and not in find: HTTP clients are told 403, request by request
		accepted,        // below Authorize: what it refuses is not counted as open
	)(l4.Forward(dial))
}

// connect opens connections to the application.
func (i *inbound) connect(to portKey) stack.Dialer {
	labels := telemetry.Inbound.Labels().Join(telemetry.Loopback.Labels())
	return i.Metrics.Dialed(labels)(l4.Dial(i.dialConfig(&i.Config.Inbound, to.named), to.addr))
}
