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
)

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
	http1, http2 := p.http1, p.http2
	if p.policy.Protocol == policy.Opaque {
		none := l7.Rescue(i.answer(false))(l7.Fail(fmt.Errorf("port %d is opaque: %w", c.PolicyPort, profiles.ErrNoRoute)))
		http1, http2 = h1Handler(none, i.h1Params(&i.Config.Inbound)), h2Handler(none, i.h2Params(&i.Config.Inbound))
	}
	switch c.Secured.Session {
	case stack.HTTP1Session:
		return http1(ctx, c)
	case stack.HTTP2Session:
		return http2(ctx, c)
	case stack.NoSession:
	}
	return p.opaque(ctx, c)
}
