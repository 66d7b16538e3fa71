// Package policy says who may reach this workload, for each connection and each
// request. It does not say how requests that leave are treated (package
// profiles). Read Policy first.
//
// The control plane is not asked yet: a port has the policy that
// LINKERD2_PROXY_INBOUND_DEFAULT_POLICY names, of which only all-unauthenticated
// is built. Whoever starts the proxy refuses the others.
package policy

import (
	"errors"
	"net/netip"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// ErrDenied means that no authorization admits the client.
var ErrDenied = errors.New("client is not authorized")

// A Meta names a resource of the policy API in metrics. One that no user made
// has the kind "default".
type Meta struct{ Group, Kind, Name string }

// A Policy is all that is known of who may reach one port. Nobody changes a
// Policy once it is in use.
type Policy struct {
	Server         Meta
	Protocol       Protocol
	Authorizations []Authorization // the first that admits a client counts
	// ByRoute says that routes have authorizations of their own beside those,
	// which requests alone can be held to.
	ByRoute bool
}

// A Protocol is what the port is known to speak.
type Protocol uint8

// The protocols that a policy can name.
const (
	Detect Protocol = iota
	HTTP1
	HTTP2
	Opaque
)

// An Authorization admits the clients from its networks.
type Authorization struct {
	Meta     Meta
	Networks []netip.Prefix
}

// A Permit says by what a client was admitted, for metrics.
type Permit struct{ Server, Route, Authorization Meta }

// Decide admits a connection or, if r is not nil, a request on it; or it returns
// an error that wraps ErrDenied.
func (p *Policy) Decide(c *stack.Conn, _ *stack.Request) (Permit, error) {
	client := c.Client.Addr().Unmap()
	for _, a := range p.Authorizations {
		for _, n := range a.Networks {
			if n.Contains(client) {
				return Permit{p.Server, Meta{Kind: "default", Name: "default"}, a.Meta}, nil
			}
		}
	}
	return Permit{}, ErrDenied
}

// AdmitsOpaque reports whether a client that has not said anything may be taken
// for one that does not speak HTTP: what it would be let do is no more than what
// it may do by HTTP.
func (p *Policy) AdmitsOpaque(c *stack.Conn) bool {
	_, err := p.Decide(c, nil)
	return err == nil && !p.ByRoute
}

// AllUnauthenticated is Linkerd's default policy of that name: it admits everyone.
func AllUnauthenticated(protocol Protocol) *Policy {
	meta := Meta{Kind: "default", Name: "all-unauthenticated"}
	return &Policy{
		Server:   meta,
		Protocol: protocol,
		Authorizations: []Authorization{{meta, []netip.Prefix{
			netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0),
		}}},
	}
}
