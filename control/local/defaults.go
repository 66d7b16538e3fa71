package local

import (
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/http_route"
	"github.com/linkerd/linkerd2-proxy-api/go/meta"
	"github.com/linkerd/linkerd2-proxy-api/go/opaque_route"
	"github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Here is what the policy controller says of a service for which nobody has made
// a route.

const (
	detectTimeout = 10 * time.Second
	queueCapacity = 100
	queueFailFast = 3 * time.Second
	ewmaRTT       = 30 * time.Millisecond
	ewmaDecay     = 10 * time.Second
)

// policy is the default policy of s.
func policy(s *service) *outbound.OutboundPolicy {
	p := &outbound.OutboundPolicy{Metadata: s.metadata()}
	bytes := &outbound.ProxyProtocol_Opaque{Routes: []*outbound.OpaqueRoute{opaqueRoute(s)}}
	if s.opaque {
		p.Protocol = &outbound.ProxyProtocol{Kind: &outbound.ProxyProtocol_Opaque_{Opaque: bytes}}
		return p
	}
	p.Protocol = &outbound.ProxyProtocol{Kind: &outbound.ProxyProtocol_Detect_{Detect: &outbound.ProxyProtocol_Detect{
		Timeout: durationpb.New(detectTimeout),
		Opaque:  bytes,
		Http1:   &outbound.ProxyProtocol_Http1{Routes: []*outbound.HttpRoute{httpRoute(s)}},
		Http2:   &outbound.ProxyProtocol_Http2{Routes: []*outbound.HttpRoute{httpRoute(s)}},
	}}}
	return p
}

func opaqueRoute(s *service) *outbound.OpaqueRoute {
	backends := &outbound.OpaqueRoute_Distribution_FirstAvailable{
		Backends: []*outbound.OpaqueRoute_RouteBackend{{Backend: backend(s)}},
	}
	return &outbound.OpaqueRoute{
		Metadata: defaultMetadata("opaq"),
		Rules: []*outbound.OpaqueRoute_Rule{{
			Backends: &outbound.OpaqueRoute_Distribution{
				Kind: &outbound.OpaqueRoute_Distribution_FirstAvailable_{FirstAvailable: backends},
			},
		}},
	}
}

func httpRoute(s *service) *outbound.HttpRoute {
	backends := &outbound.HttpRoute_Distribution_FirstAvailable{
		Backends: []*outbound.HttpRoute_RouteBackend{{Backend: backend(s)}},
	}
	return &outbound.HttpRoute{
		Metadata: defaultMetadata("http"),
		Rules: []*outbound.HttpRoute_Rule{{
			Matches: []*http_route.HttpRouteMatch{{
				Path: &http_route.PathMatch{Kind: &http_route.PathMatch_Prefix{Prefix: "/"}},
			}},
			Backends: &outbound.HttpRoute_Distribution{
				Kind: &outbound.HttpRoute_Distribution_FirstAvailable_{FirstAvailable: backends},
			},
			Timeouts: new(http_route.Timeouts),
		}},
	}
}

// backend is a balancer over what Get says of s.
func backend(s *service) *outbound.Backend {
	return &outbound.Backend{
		Metadata: s.metadata(),
		Queue:    &outbound.Queue{Capacity: queueCapacity, FailfastTimeout: durationpb.New(queueFailFast)},
		Kind: &outbound.Backend_Balancer{Balancer: &outbound.Backend_BalanceP2C{
			Discovery: &outbound.Backend_EndpointDiscovery{
				Kind: &outbound.Backend_EndpointDiscovery_Dst{
					Dst: &outbound.Backend_EndpointDiscovery_DestinationGet{Path: s.String()},
				},
			},
			Load: &outbound.Backend_BalanceP2C_PeakEwma_{PeakEwma: &outbound.Backend_BalanceP2C_PeakEwma{
				DefaultRtt: durationpb.New(ewmaRTT),
				Decay:      durationpb.New(ewmaDecay),
			}},
		}},
	}
}

// undefinedPort is the policy of a service's port that it does not have: no
// connection is let through.
func undefinedPort(h host) *outbound.OutboundPolicy {
	return &outbound.OutboundPolicy{
		Metadata: h.metadata(),
		Protocol: &outbound.ProxyProtocol{Kind: &outbound.ProxyProtocol_Opaque_{Opaque: &outbound.ProxyProtocol_Opaque{
			Routes: []*outbound.OpaqueRoute{{
				Metadata: defaultMetadata("undefined-port"),
				Rules: []*outbound.OpaqueRoute_Rule{{
					Backends: &outbound.OpaqueRoute_Distribution{
						Kind: &outbound.OpaqueRoute_Distribution_Empty_{Empty: new(outbound.OpaqueRoute_Distribution_Empty)},
					},
					Filters: []*outbound.OpaqueRoute_Filter{{
						Kind: &outbound.OpaqueRoute_Filter_Forbidden{Forbidden: new(opaque_route.Forbidden)},
					}},
				}},
			}},
		}}},
	}
}

func defaultMetadata(name string) *meta.Metadata {
	return &meta.Metadata{Kind: &meta.Metadata_Default{Default: name}}
}

func (h host) metadata() *meta.Metadata {
	return &meta.Metadata{Kind: &meta.Metadata_Resource{Resource: h.resource("core", "Service")}}
}

// resource names h as a Kubernetes resource. A name that is not of Kubernetes'
// form is taken whole, in the namespace "default", since a resource without a
// namespace is not valid.
func (h host) resource(group, kind string) *meta.Resource {
	name, namespace, ok := h.kubernetes()
	if !ok {
		name, namespace = h.name, "default"
	}
	return &meta.Resource{Group: group, Kind: kind, Name: name, Namespace: namespace, Port: uint32(h.port)}
}
