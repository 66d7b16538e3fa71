package proxy

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
	"github.com/outrigger-mesh/outrigger/tls"
)

// The outbound stack takes connections from the application to the mesh:
//
//	redirected ─┐
//	named ──────┴→ find → logical ─┬─ not HTTP ──────→ opaque route ─→ opaque backend ─→ connect
//	                               └─ HTTP/1, HTTP/2 → request → route → backend → endpoint → connect
//
// Each box is the function of that name below, in that order, and each
// function's layers stand in the order in which a request meets them.
type outbound struct {
	*Proxy
	limit        stack.Layer[stack.Handler] // one, to bound all listeners' connections together
	shed         stack.Layer[stack.Service] // one, to bound all destinations' requests together
	inFlight     *l7.InFlight               // what shed counts
	destinations *shared[destination, *logical]
	peers        map[bool]*peers // by whether loopback may be reached
}

// A destination is what a logical is kept by. Named listeners may reach what
// redirected connections may not.
type destination struct {
	profiles.Target
	named bool
}

// redirected serves the connections that the application opened to anywhere, and
// the kernel brought here.
func (o *outbound) redirected() stack.Handler {
	return stack.Chain(
		o.limit, // first, so that what is refused costs least
		o.tcpErrors(telemetry.Outbound),
		l4.OrigDst,
		l4.RefuseLoops(o.Config.Outbound.Listen...), // below OrigDst, whose answer it checks
	)(func(ctx context.Context, c *stack.Conn) error {
		return o.find(ctx, c, destination{Target: profiles.Target{Addr: c.OrigDst}})
	})
}

// named serves the connections to a listener whose destination is given to it.
func (o *outbound) named(t profiles.Target) stack.Handler {
	return stack.Chain(
		o.limit,
		o.tcpErrors(telemetry.Outbound),
		l4.Fixed(t.Addr), // in place of OrigDst
	)(func(ctx context.Context, c *stack.Conn) error {
		return o.find(ctx, c, destination{t, true})
	})
}

// find finds what serves the connection's destination, and gives it over.
func (o *outbound) find(ctx context.Context, c *stack.Conn, to destination) error {
	dst, release, err := o.destinations.get(context.WithoutCancel(ctx), to, o.logical)
	if err != nil {
		return o.undiscovered(ctx, c, err)
	}
	defer release()
	return dst.serve(ctx, c)
}

// undiscovered answers HTTP with why its destination is not known. Any other
// connection can only be reset.
func (o *outbound) undiscovered(ctx context.Context, c *stack.Conn, why error) error {
	d, err := l4.Detect(c, l4.DetectConfig{Timeout: o.Config.Outbound.DetectTimeout})
	svc := l7.Rescue(o.answer(!o.Config.QuietErrors))(l7.Fail(why))
	switch {
	case err == nil && d.Protocol == l4.HTTP1:
		_ = h1Handler(svc, o.h1Params(&o.Config.Outbound))(ctx, c)
	case err == nil && d.Protocol == l4.HTTP2:
		_ = h2Handler(svc, o.h2Params(&o.Config.Outbound))(ctx, c)
	default:
		return l4.Refuse(c, why)
	}
	return why
}

// A logical serves one destination, for as long as anyone uses it.
type logical struct {
	profile atomic.Pointer[profiles.Profile]
	detect  detection
	http1   stack.Handler
	http2   stack.Handler
	opaque  stack.Handler
}

// serve tells HTTP from the rest, unless the control plane already has.
func (l *logical) serve(ctx context.Context, c *stack.Conn) error {
	switch p := l.profile.Load(); p.Protocol {
	case profiles.HTTP1:
		return l.http1(ctx, c)
	case profiles.HTTP2, profiles.GRPC:
		return l.http2(ctx, c)
	case profiles.Opaque:
		return l.opaque(ctx, c)
	case profiles.TLS:
		return l4.Refuse(c, fmt.Errorf("TLS routes of %s: %w", p.Name, errUnserved))
	case profiles.Detect:
	}
	switch d, err := l.detect(ctx, c); {
	case err != nil:
		_ = c.Close()
		return err
	case d.Protocol == l4.HTTP1:
		return l.http1(ctx, c)
	case d.Protocol == l4.HTTP2:
		return l.http2(ctx, c)
	default:
		return l.opaque(ctx, c)
	}
}

// logical builds what serves one destination. Its streams end with ctx.
func (o *outbound) logical(ctx context.Context, to destination) (*logical, error) {
	l := &logical{}
	d := &discovery{
		http:   newBackends(ctx, o.Config.Outbound.DiscoveryIdle, o.backend(to.named)),
		opaque: newBackends(ctx, o.Config.Outbound.DiscoveryIdle, o.opaqueBackend(to.named)),
	}
	build := func(rt *profiles.Route, rule *profiles.Rule) stack.Service { return o.route(d, rt, rule) }
	d.routes1, d.routes2 = profiles.NewRouter(build), profiles.NewRouter(build)
	d.opaqueRoutes = profiles.NewRouter(func(rt *profiles.Route, rule *profiles.Rule) stack.Dialer { return o.opaqueRoute(d, rt, rule) })
	err := o.discover(ctx, to.Target, func(p *profiles.Profile) {
		d.update(p)
		l.profile.Store(p)
	})
	if err != nil {
		return nil, err
	}
	p := l.profile.Load()
	accepted := o.Metrics.Accepted(telemetry.Outbound.Labels().Join(targetLabels(to.Target)).Join(telemetry.Loopback.Labels()))
	opaque := l4.Routed(d.opaqueRoutes)
	l.detect = o.detect(telemetry.Outbound, parentLabels(p.Parent), nameOf(to.Target), &l4.Detector{
		Timeout: o.Config.Outbound.DetectTimeout,
		Silence: o.Config.Outbound.ServerFirst,
		Dial:    opaque, // through routes and their filters: a server that must not be reached is not heard either
	})
	l.http1 = accepted(h1Handler(o.request(to.Target, p, l7.Routed(d.routes1)), o.h1Params(&o.Config.Outbound)))
	l.http2 = accepted(h2Handler(o.request(to.Target, p, l7.Routed(d.routes2)), o.h2Params(&o.Config.Outbound)))
	l.opaque = l4.CloseUnused(accepted(l4.Forward(opaque)))
	return l, nil
}

// request is what every HTTP request meets before it is routed.
func (o *outbound) request(t profiles.Target, p *profiles.Profile, next stack.Service) stack.Service {
	return stack.Chain(
		l7.OnObserverPanic(o.observerPanicked),                               // above all that observes
		l7.Rescue(o.answer(!o.Config.QuietErrors)),                           // whatever fails below is answered
		l7.RescueGRPC(o.ending(!o.Config.QuietErrors)),                       // above all that observes the response, which is to see how it ended
		o.Metrics.HTTPErrors(telemetry.Outbound, telemetry.Labels{}, kindOf), // below Rescue, to count what it answers
		// Below what answers: a panic above it is the codec's to answer.
		l7.Guarded(o.guard),
		o.shed,                             // below Rescue, which answers 503 for it
		l7.StripTwins,                      // above all that reads the mesh's fields
		l7.NormalizeURI(authorityOf(t, p)), // above Routed, which goes by the authority
		l7.Named("logical service "+nameOf(t)),
	)(next)
}

// route is what the requests of one rule meet.
func (o *outbound) route(d *discovery, rt *profiles.Route, rule *profiles.Rule) stack.Service {
	if rule.Refusal != "" {
		return l7.Named("route " + rt.Meta.String())(l7.Fail(fmt.Errorf("%w: %s", errInvalid, rule.Refusal)))
	}
	split := profiles.NewSplit(rule.Distribution, func(s profiles.Share) (stack.Service, func() bool) {
		backend, ready := d.http.of(s.Backend)
		return stack.Chain(
			l7.Named("backend "+s.Backend.Meta.String()),
			l7.Filters(s.Filters),
		)(backend), ready
	})
	return stack.Chain(
		l7.Named("route "+rt.Meta.String()),
		o.profiled(d.profile, rt, rule),
		l7.Filters(rule.Filters), // above Split: what a filter answers is sent to nobody
	)(l7.Split(split))
}

// profiled is what a ServiceProfile's requests meet beside a policy's.
func (o *outbound) profiled(p *profiles.Profile, rt *profiles.Route, rule *profiles.Rule) stack.Layer[stack.Service] {
	if p.Source != profiles.FromProfile {
		return stack.Chain[stack.Service]()
	}
	return stack.Chain(
		l7.Canonical(p.Name),
		l7.Classed(rule.Classifier()), // above all that counts responses, here and at the endpoint
		o.Metrics.RouteRequests(routeLabels(telemetry.Outbound, p.Name, rt)),
	)
}

// backend shares requests among the endpoints of one backend.
func (o *outbound) backend(named bool) func(context.Context, profiles.Backend) (stack.Service, func() bool) {
	return func(ctx context.Context, b profiles.Backend) (stack.Service, func() bool) {
		switch {
		case b.Refusal != "":
			return l7.Fail(fmt.Errorf("%w: %s", errRefusal, b.Refusal)), always
		case b.Name == "":
			svc, _ := o.endpoint(named, "")(ctx, b.Endpoint, nil)
			return svc, always
		}
		bal := balance.New(ctx, o.balance(b, &o.Config.Outbound.HTTPQueue), o.endpoint(named, b.Name))
		o.watch(ctx, b.Name, bal.Update)
		return l7.Balanced(bal), bal.Ready
	}
}

// endpoint is what the requests to one endpoint meet.
func (o *outbound) endpoint(named bool, authority string) balance.Build[stack.Service] {
	return func(ctx context.Context, e discover.Endpoint, changed func()) (stack.Service, func() bool) {
		p := o.peers[named].client(ctx, e, changed)
		return stack.Chain(
			l7.OverrideAuthority(e.Authority),
			l7.RequireID(e),                                    // above Requests: what is refused here is no request to the endpoint
			o.Metrics.Requests(o.endpointLabels(e, authority)), // below the balancer, to count tries
			l7.StripPeerErrors,
			l7.Named("endpoint "+e.Addr.String()),
		)(p.do), p.ready
	}
}

// opaqueRoute shares connections that are not HTTP among a route's backends.
func (o *outbound) opaqueRoute(d *discovery, rt *profiles.Route, rule *profiles.Rule) stack.Dialer {
	if rule.Refusal != "" {
		return l4.Refusing(fmt.Errorf("route %v: %w: %s", rt.Meta, errInvalid, rule.Refusal))
	}
	split := profiles.NewSplit(rule.Distribution, func(s profiles.Share) (stack.Dialer, func() bool) {
		backend, ready := d.opaque.of(s.Backend)
		return l4.Filters(s.Filters)(backend), ready
	})
	return l4.Filters(rule.Filters)(l4.Split(split))
}

// opaqueBackend shares connections among the endpoints of one backend.
func (o *outbound) opaqueBackend(named bool) func(context.Context, profiles.Backend) (stack.Dialer, func() bool) {
	return func(ctx context.Context, b profiles.Backend) (stack.Dialer, func() bool) {
		switch {
		case b.Refusal != "":
			return l4.Refusing(fmt.Errorf("%w: %s", errRefusal, b.Refusal)), always
		case b.Name == "":
			return o.connect(b.Endpoint, "", named), always
		}
		bal := balance.New(ctx, o.balance(b, &o.Config.Outbound.TCPQueue), func(_ context.Context, e discover.Endpoint, _ func()) (stack.Dialer, func() bool) {
			return o.connect(e, b.Name, named), nil
		})
		o.watch(ctx, b.Name, bal.Update)
		return l4.Balanced(bal), bal.Ready
	}
}

// watch gives update every set of the named destination's endpoints, until ctx
// ends. While the control plane refuses to resolve what it has named itself, it is
// asked again: what stands is what it said before, or else that there is none.
func (o *outbound) watch(ctx context.Context, name string, update func(discover.Set)) {
	pause := control.Backoff{Min: o.Config.Control.MaxPause, Max: o.Config.Control.MaxPause}.Start()
	known, told := false, false
	o.guard.Go("endpoints update", func() {
		for again := true; again; again = pause.Wait(ctx) == nil {
			for set, err := range o.Resolver.Resolve(ctx, name) {
				switch {
				case err == nil:
					known = true
					update(set)
				case ctx.Err() == nil && !told:
					told = true
					o.Log.Warn("the control plane refuses to resolve a destination", "destination", name, "err", err)
				}
			}
			if !known && ctx.Err() == nil {
				known = true
				update(discover.Set{})
			}
		}
	})
}

// connect opens connections to one endpoint. One that has an identity is never
// spoken to in the clear.
func (o *outbound) connect(e discover.Endpoint, authority string, named bool) stack.Dialer {
	counted := o.Metrics.Dialed(o.endpointLabels(e, authority))
	switch {
	case e.ID == "":
		return counted(l4.Dial(o.dialConfig(&o.Config.Outbound, named), e.Addr))
	case o.Identity == nil:
		return func(context.Context, stack.Session) (*stack.Conn, error) {
			return nil, fmt.Errorf("endpoint %s: %w: it has the identity %q, and this proxy is unmeshed: it speaks no TLS", e.Addr, l7.ErrIdentity, e.ID)
		}
	}
	header, at, headed := l4.HeadedTo(e)
	return stack.Chain(
		counted, // first, to count bytes as they are within TLS
		l4.Within(o.Config.Outbound.Connect.Timeout), // above all that a connection takes
		l4.Headed(header), // above Secure: it goes within TLS
		l4.Secure(o.Identity, meshParams(e, headed)),
	)(l4.Dial(o.dialConfig(&o.Config.Outbound, named), at))
}

// meshParams say whom e must prove to be, and whether it is offered a transport header.
func meshParams(e discover.Endpoint, headed bool) tls.ClientParams {
	p := tls.ClientParams{Server: e.ID, SNI: e.ServerName}
	if headed {
		p.ALPN = []string{tls.TransportALPN}
	}
	return p
}

func always() bool { return true }
