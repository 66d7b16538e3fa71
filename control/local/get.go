package local

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"github.com/linkerd/linkerd2-proxy-api/go/net"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// destinations is the Destination service.
type destinations struct {
	destination.UnimplementedDestinationServer
	s *Server
}

// Get streams a service's endpoints: an add with those that are new or changed, a
// remove with those that are gone. As the destination controller does, it says
// nothing of a service without endpoints, NotFound of a name that it does not
// know, and InvalidArgument of what is not a name.
func (d destinations) Get(r *destination.GetDestination, stream grpc.ServerStreamingServer[destination.Update]) error {
	h, err := parseHost(r.GetPath(), defaultPort)
	switch {
	case errors.Is(err, errIP):
		return status.Errorf(codes.InvalidArgument, "IP queries not supported by Get API: %v", err)
	case err != nil:
		return status.Errorf(codes.InvalidArgument, "invalid authority: %v", err)
	case d.s.state.Load().mesh.names[h.name] == nil:
		return status.Errorf(codes.NotFound, "no service %s in the mesh file", h.name)
	}
	said := make(said)
	return d.s.each(stream.Context(), func(m *Mesh) error {
		for _, u := range said.updates(h, m.services[h]) {
			if err := stream.Send(u); err != nil {
				return err
			}
		}
		return nil
	})
}

// said is what a stream's client has: each endpoint as it was added last.
type said map[netip.AddrPort]*destination.WeightedAddr

// updates returns what must be said for the client to have the endpoints of s,
// which is nil if the file does not have it any more, and notes it as said.
func (was said) updates(h host, s *service) []*destination.Update {
	gone := maps.Clone(was)
	var added []*destination.WeightedAddr
	for e := range s.all() {
		delete(gone, e.addr)
		if a := endpoint(e); !proto.Equal(was[e.addr], a) {
			was[e.addr] = a
			added = append(added, a)
		}
	}
	var updates []*destination.Update
	if len(added) > 0 {
		updates = append(updates, add(h, added))
	}
	if len(gone) > 0 {
		updates = append(updates, remove(slices.SortedFunc(maps.Keys(gone), netip.AddrPort.Compare)))
		maps.DeleteFunc(was, func(a netip.AddrPort, _ *destination.WeightedAddr) bool { return gone[a] != nil })
	}
	return updates
}

func add(h host, addrs []*destination.WeightedAddr) *destination.Update {
	set := &destination.WeightedAddrSet{Addrs: addrs}
	if name, namespace, ok := h.kubernetes(); ok {
		set.MetricLabels = map[string]string{"service": name, "namespace": namespace}
	}
	return &destination.Update{Update: &destination.Update_Add{Add: set}}
}

func remove(addrs []netip.AddrPort) *destination.Update {
	set := new(destination.AddrSet)
	for _, a := range addrs {
		set.Addrs = append(set.Addrs, tcpAddress(a))
	}
	return &destination.Update{Update: &destination.Update_Remove{Remove: set}}
}

// endpoint is what both Get and GetProfile say of an endpoint.
func endpoint(e member) *destination.WeightedAddr {
	a := &destination.WeightedAddr{Addr: tcpAddress(e.addr), Weight: e.weight, MetricLabels: e.labels}
	a.TlsIdentity, a.ProtocolHint = e.tlsIdentity(), e.protocolHint()
	return a
}

// protocolHint says what e speaks, and on which port its sidecar takes a transport
// header.
func (e member) protocolHint() *destination.ProtocolHint {
	h := new(destination.ProtocolHint)
	switch e.hint() {
	case http2:
		h.Protocol = &destination.ProtocolHint_H2_{H2: new(destination.ProtocolHint_H2)}
	case opaque:
		h.Protocol = &destination.ProtocolHint_Opaque_{Opaque: new(destination.ProtocolHint_Opaque)}
	case unknown:
		if e.inboundPort == 0 {
			return nil
		}
	}
	if e.inboundPort != 0 {
		h.OpaqueTransport = &destination.ProtocolHint_OpaqueTransport{InboundPort: uint32(e.inboundPort)}
	}
	return h
}

// tlsIdentity says whom e must prove to be, nil if nobody.
func (e member) tlsIdentity() *destination.TlsIdentity {
	if e.identity.text == "" {
		return nil
	}
	t := &destination.TlsIdentity{ServerName: &destination.TlsIdentity_DnsLikeIdentity{Name: e.serverName}}
	if e.identity.isURI {
		t.Strategy = &destination.TlsIdentity_UriLikeIdentity_{UriLikeIdentity: &destination.TlsIdentity_UriLikeIdentity{Uri: e.identity.text}}
	} else {
		t.Strategy = &destination.TlsIdentity_DnsLikeIdentity_{DnsLikeIdentity: &destination.TlsIdentity_DnsLikeIdentity{Name: e.identity.text}}
	}
	return t
}

// tcpAddress writes a as net.proto has it: in network order.
func tcpAddress(a netip.AddrPort) *net.TcpAddress {
	ip := new(net.IPAddress)
	if a.Addr().Is4() {
		b := a.Addr().As4()
		ip.Ip = &net.IPAddress_Ipv4{Ipv4: binary.BigEndian.Uint32(b[:])}
	} else {
		b := a.Addr().As16()
		ip.Ip = &net.IPAddress_Ipv6{Ipv6: &net.IPv6{First: binary.BigEndian.Uint64(b[:8]), Last: binary.BigEndian.Uint64(b[8:])}}
	}
	return &net.TcpAddress{Ip: ip, Port: uint32(a.Port())}
}
