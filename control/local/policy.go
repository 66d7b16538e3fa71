package local

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"

	"github.com/linkerd/linkerd2-proxy-api/go/net"
	"github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// policies is the OutboundPolicies service.
type policies struct {
	outbound.UnimplementedOutboundPoliciesServer
	s *Server
}

// errNoService is the answer to whatever is no service, a pod's address above
// all: the proxy then goes by the profile.
var errNoService = status.Error(codes.NotFound, "no such service in the mesh file")

// Get returns a target's policy as it is now.
func (p policies) Get(_ context.Context, spec *outbound.TrafficSpec) (*outbound.OutboundPolicy, error) {
	find, err := target(spec)
	if err != nil {
		return nil, err
	}
	if policy := find(p.s.state.Load().mesh); policy != nil {
		return policy, nil
	}
	return nil, errNoService
}

// Watch streams a target's policy. The last one stands when its service is taken
// out of the file; a new Watch is then answered with NotFound.
func (p policies) Watch(spec *outbound.TrafficSpec, stream grpc.ServerStreamingServer[outbound.OutboundPolicy]) error {
	find, err := target(spec)
	if err != nil {
		return err
	}
	if find(p.s.state.Load().mesh) == nil {
		return errNoService
	}
	send := changes(stream.Send)
	return p.s.each(stream.Context(), func(m *Mesh) error {
		if policy := find(m); policy != nil {
			return send(policy)
		}
		return nil
	})
}

// target returns what finds a TrafficSpec's policy in a Mesh, nil if there is
// none.
func target(spec *outbound.TrafficSpec) (func(*Mesh) *outbound.OutboundPolicy, error) {
	switch t := spec.GetTarget().(type) {
	case *outbound.TrafficSpec_Addr:
		addr, ok := addrPort(t.Addr)
		if !ok {
			return nil, status.Error(codes.InvalidArgument, "invalid target: not an IP address and a port from 1 to 65535")
		}
		return func(m *Mesh) *outbound.OutboundPolicy {
			return policyFor(m.addresses[addr], m.ips[addr.Addr()], addr.Port())
		}, nil
	case *outbound.TrafficSpec_Authority:
		return authority(t.Authority)
	default:
		return nil, status.Error(codes.InvalidArgument, "target is required")
	}
}

func authority(text string) (func(*Mesh) *outbound.OutboundPolicy, error) {
	h, err := parseHost(text, defaultPort)
	switch {
	case errors.Is(err, errIP):
		return nil, errNoService
	case err != nil:
		return nil, status.Errorf(codes.InvalidArgument, "invalid authority: %v", err)
	}
	return func(m *Mesh) *outbound.OutboundPolicy { return policyFor(m.services[h], m.names[h.name], h.port) }, nil
}

// policyFor is the policy of s; or, if there is no such service but another port
// of it is one, what keeps clients off the port.
func policyFor(s, other *service, port uint16) *outbound.OutboundPolicy {
	switch {
	case s != nil:
		return policy(s)
	case other != nil:
		return undefinedPort(host{other.name, port})
	}
	return nil
}

func addrPort(a *net.TcpAddress) (netip.AddrPort, bool) {
	if a.GetPort() == 0 || a.GetPort() > math.MaxUint16 {
		return netip.AddrPort{}, false
	}
	var ip netip.Addr
	switch v := a.GetIp().GetIp().(type) {
	case *net.IPAddress_Ipv4:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], v.Ipv4)
		ip = netip.AddrFrom4(b)
	case *net.IPAddress_Ipv6:
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], v.Ipv6.GetFirst())
		binary.BigEndian.PutUint64(b[8:], v.Ipv6.GetLast())
		ip = netip.AddrFrom16(b).Unmap()
	default:
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(a.GetPort())), true
}
