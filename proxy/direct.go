package proxy

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/tls"
)

// reachedDirectly gives connections to the inbound port itself to direct. Without an
// identity there is no such thing.
func (i *inbound) reachedDirectly() stack.Layer[stack.Handler] {
	if i.Identity == nil {
		return stack.Chain[stack.Handler]()
	}
	var ports []uint16
	for _, a := range i.Config.Inbound.Listen {
		ports = append(ports, a.Port())
	}
	return l4.Apart(i.direct(i.Identity.ServerName(), i.handshake(tls.TransportALPN)), ports...)
}

// direct serves the connections to the inbound port itself, which other sidecars
// open: within mutual TLS a transport header says which port they are for, and what
// they carry. It is nothing but a way in: the port's own stack does the rest.
func (i *inbound) direct(name string, handshake l4.Handshake) stack.Handler {
	timeout := i.Config.Inbound.DetectTimeout
	return stack.Chain(
		l4.Terminate(name, timeout, handshake),
		l4.Direct(l4.DirectConfig{Timeout: timeout, Own: i.ownPorts()}), // below Terminate, since it goes by who the client is
	)(i.headed)
}

// ownPorts are those of this proxy's own listeners.
func (i *inbound) ownPorts() []uint16 {
	all := []uint16{i.Config.Admin.Listen.Port(), i.Config.Tap.Listen.Port()}
	for _, d := range []*Direction{&i.Config.Inbound, &i.Config.Outbound} {
		for _, a := range d.Listen {
			all = append(all, a.Port())
		}
		for _, n := range d.Named {
			all = append(all, n.Listen.Port())
		}
	}
	return all
}

// headed gives a connection to the port that its header names, at the address at
// which this workload was reached. Whoever has reached it on loopback is on this
// host, and may be given what is there.
func (i *inbound) headed(ctx context.Context, c *stack.Conn) error {
	to := portKey{netip.AddrPortFrom(c.OrigDst.Addr(), c.PolicyPort), c.OrigDst.Addr().IsLoopback()}
	p, release, err := i.ports.get(context.WithoutCancel(ctx), to, i.local)
	if err != nil {
		return l4.Refuse(c, err)
	}
	defer release()
	return i.session(ctx, c, p)
}

// session serves what the header said that the connection carries; nothing is
// detected. Of a port that its policy calls opaque there are no routes.
func (i *inbound) session(ctx context.Context, c *stack.Conn, p *port) error {
	opaque := p.policy.Protocol == policy.Opaque
	none := l7.Rescue(i.answer(false))(l7.Fail(fmt.Errorf("port %d is opaque: %w", c.PolicyPort, profiles.ErrNoRoute)))
	switch {
	case c.Secured.Session == stack.NoSession:
		return i.as(ctx, c, p, (*served).asOpaque)
	case c.Secured.Session == stack.HTTP1Session && opaque:
		return h1Handler(none, i.h1Params(&i.Config.Inbound))(ctx, c)
	case c.Secured.Session == stack.HTTP1Session:
		return i.as(ctx, c, p, (*served).asHTTP1)
	case opaque:
		return h2Handler(none, i.h2Params(&i.Config.Inbound))(ctx, c)
	default:
		return i.as(ctx, c, p, (*served).asHTTP2)
	}
}
