package proxy

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// nameOf is how a target is called in errors.
func nameOf(t profiles.Target) string {
	if t.Name != "" {
		return net.JoinHostPort(t.Name, strconv.Itoa(int(t.Port)))
	}
	return t.Addr.String()
}

// authorityOf gives the authority of requests that have none: that of the profile,
// or else of the target.
func authorityOf(t profiles.Target, p *profiles.Profile) func(*stack.Conn) string {
	name := p.Name
	if name == "" {
		name = nameOf(t)
	}
	name = withoutPort80(name)
	return func(*stack.Conn) string { return name }
}

func withoutPort80(authority string) string {
	if host, port, err := net.SplitHostPort(authority); err == nil && port == "80" {
		return host
	}
	return authority
}

// targetLabels are those of a connection that was accepted for t. A target that
// has only a name has no address to show.
func targetLabels(t profiles.Target) telemetry.Labels {
	if t.Addr.IsValid() {
		return telemetry.Target(t.Addr)
	}
	return telemetry.Label("target_addr", nameOf(t)).With("target_ip", "").With("target_port", strconv.Itoa(int(t.Port)))
}

// endpointLabels are those of what is sent to an endpoint (Linkerd's endpoint
// group). authority is the backend's "name:port", or "" if there is none.
func (o *outbound) endpointLabels(e discover.Endpoint, authority string) telemetry.Labels {
	l := telemetry.Outbound.Labels()
	if authority != "" {
		l = l.With("authority", withoutPort80(authority))
	}
	return l.Join(telemetry.Target(e.Addr)).Join(o.securedLabels(e)).Prefixed("dst_", e.Labels)
}

// securedLabels say whether what is sent to e is encrypted, and why not.
func (o *outbound) securedLabels(e discover.Endpoint) telemetry.Labels {
	switch {
	case e.ID != "" && o.Identity != nil:
		return telemetry.ServerID(string(e.ID))
	case slices.Contains(o.Config.LocalIPs, e.Addr.Addr()):
		return telemetry.Loopback.Labels()
	default:
		return telemetry.NotDiscovered.Labels()
	}
}

// clientLabels are those of what became of the TLS of an accepted connection.
func clientLabels(c *stack.Conn) telemetry.Labels {
	switch c.TLS {
	case stack.MeshTLS:
		return telemetry.ClientID(string(c.Peer))
	case stack.ForeignTLS:
		return telemetry.ForeignTLS(c.Secured.SNI)
	case stack.SkippedTLS:
		return telemetry.PortSkippedTLS.Labels()
	case stack.NoTLS, stack.Unexamined:
	}
	return telemetry.NoTLSFromPeer.Labels()
}

// routeLabels are those of a ServiceProfile's route.
func routeLabels(d telemetry.Direction, dst string, rt *profiles.Route) telemetry.Labels {
	return d.Labels().With("dst", dst).Prefixed("rt_", rt.Labels)
}

// parentLabels are those of what a destination's routes hang on.
func parentLabels(m profiles.Meta) telemetry.Labels {
	port := ""
	if m.Port != 0 {
		port = strconv.Itoa(int(m.Port))
	}
	return telemetry.Label("parent_group", m.Group).With("parent_kind", m.Kind).With("parent_namespace", m.Namespace).
		With("parent_name", m.Name).With("parent_port", port).With("parent_section_name", m.Section)
}

// serverLabels are those of a port's policy: srv_*.
func serverLabels(m policy.Meta, port uint16) telemetry.Labels {
	return telemetry.Label("srv_group", m.Group).With("srv_kind", m.Kind).With("srv_name", m.Name).With("srv_port", strconv.Itoa(int(port)))
}

// permitLabels are those of what admitted a request.
func permitLabels(p policy.Permit, port uint16) telemetry.Labels {
	return serverLabels(p.Server, port).
		With("route_group", p.Route.Group).With("route_kind", p.Route.Kind).With("route_name", p.Route.Name).
		With("authz_group", p.Authorization.Group).With("authz_kind", p.Authorization.Kind).With("authz_name", p.Authorization.Name)
}

// acceptedTarget labels a connection by where it meant to go, if that is known.
func acceptedTarget(c *stack.Conn) telemetry.Labels {
	dst := c.OrigDst
	if !dst.IsValid() {
		dst = netip.AddrPort{}
	}
	return telemetry.Target(dst)
}
