package local

import (
	"net/netip"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"github.com/linkerd/linkerd2-proxy-api/go/http_types"
	"github.com/linkerd/linkerd2-proxy-api/go/meta"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// GetProfile streams how requests to an address or a name are treated. As the
// destination controller does, it says nothing but an empty message of a port
// that a service lacks, names the one endpoint of an address that is no
// service's, and InvalidArgument of what is neither.
//
// Of a name that the file does not have it says an empty message too, and more
// once the file has it.
func (d destinations) GetProfile(r *destination.GetDestination, stream grpc.ServerStreamingServer[destination.DestinationProfile]) error {
	find, err := lookup(r.GetPath())
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "invalid authority: %v", err)
	}
	send := changes(stream.Send)
	return d.s.each(stream.Context(), func(m *Mesh) error { return send(find(m)) })
}

// lookup reads "ip:port", "name:port" or "name", and returns what finds the
// profile of that in a Mesh.
func lookup(path string) (func(*Mesh) *destination.DestinationProfile, error) {
	if addr, err := netip.ParseAddrPort(path); err == nil && addr.Port() != 0 {
		addr = netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
		return func(m *Mesh) *destination.DestinationProfile { return m.profileOf(addr) }, nil
	}
	h, err := parseHost(path, defaultPort)
	if err != nil {
		return nil, err
	}
	return func(m *Mesh) *destination.DestinationProfile { return profileMessage(m.services[h]) }, nil
}

// profileOf finds the profile of an address: a service's, an endpoint's, or, if
// it is neither, that of an endpoint of which nothing is known.
func (m *Mesh) profileOf(addr netip.AddrPort) *destination.DestinationProfile {
	if s := m.addresses[addr]; s != nil || m.ips[addr.Addr()] != nil {
		return profileMessage(s)
	}
	e, ok := m.endpoints[addr]
	if !ok {
		return &destination.DestinationProfile{Endpoint: &destination.WeightedAddr{Addr: tcpAddress(addr), Weight: defaultWeight}}
	}
	a := endpoint(e)
	a.MetricLabels = e.labelsByItself()
	return &destination.DestinationProfile{Endpoint: a, OpaqueProtocol: e.hint() == opaque, RetryBudget: defaultBudget()}
}

// profileMessage is s's profile, or an empty one if s is nil.
func profileMessage(s *service) *destination.DestinationProfile {
	if s == nil {
		return new(destination.DestinationProfile)
	}
	p := &destination.DestinationProfile{
		FullyQualifiedName: s.name,
		OpaqueProtocol:     s.opaque,
		RetryBudget:        defaultBudget(),
		ParentRef:          s.metadata(),
	}
	if s.profile.given {
		ref := s.resource("linkerd.io", "ServiceProfile")
		ref.Name, ref.Port = s.name, 0 // a ServiceProfile is called as its service in full
		p.ProfileRef = &meta.Metadata{Kind: &meta.Metadata_Resource{Resource: ref}}
	}
	for _, r := range s.profile.routes {
		p.Routes = append(p.Routes, &destination.Route{
			Condition:     r.condition.message(),
			MetricsLabels: map[string]string{"route": r.name},
		})
	}
	for _, o := range s.profile.overrides {
		p.DstOverrides = append(p.DstOverrides, &destination.WeightedDst{
			Authority:  o.String(),
			Weight:     o.weight,
			BackendRef: o.metadata(),
		})
	}
	return p
}

const (
	retryRatio       = 0.2
	retriesPerSecond = 10
	retryTTL         = 10 * time.Second
)

// defaultBudget is what the controller gives where no ServiceProfile says
// otherwise.
func defaultBudget() *destination.RetryBudget {
	return &destination.RetryBudget{RetryRatio: retryRatio, MinRetriesPerSecond: retriesPerSecond, Ttl: durationpb.New(retryTTL)}
}

// message turns a condition into the API's. One that asks for several things is
// their conjunction, as in the controller.
func (c condition) message() *destination.RequestMatch {
	var parts []*destination.RequestMatch
	if len(c.all) > 0 {
		parts = append(parts, &destination.RequestMatch{Match: &destination.RequestMatch_All{All: sequence(c.all)}})
	}
	if len(c.any) > 0 {
		parts = append(parts, &destination.RequestMatch{Match: &destination.RequestMatch_Any{Any: sequence(c.any)}})
	}
	if c.method != "" {
		parts = append(parts, &destination.RequestMatch{Match: &destination.RequestMatch_Method{Method: method(c.method)}})
	}
	if c.not != nil {
		parts = append(parts, &destination.RequestMatch{Match: &destination.RequestMatch_Not{Not: c.not.message()}})
	}
	if c.pathRegex != "" {
		parts = append(parts, &destination.RequestMatch{Match: &destination.RequestMatch_Path{Path: &destination.PathMatch{Regex: c.pathRegex}}})
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return &destination.RequestMatch{Match: &destination.RequestMatch_All{All: &destination.RequestMatch_Seq{Matches: parts}}}
}

func sequence(all []condition) *destination.RequestMatch_Seq {
	seq := new(destination.RequestMatch_Seq)
	for _, c := range all {
		seq.Matches = append(seq.Matches, c.message())
	}
	return seq
}

func method(name string) *http_types.HttpMethod {
	if number, ok := http_types.HttpMethod_Registered_value[name]; ok {
		return &http_types.HttpMethod{Type: &http_types.HttpMethod_Registered_{Registered: http_types.HttpMethod_Registered(number)}}
	}
	return &http_types.HttpMethod{Type: &http_types.HttpMethod_Unregistered{Unregistered: name}}
}
