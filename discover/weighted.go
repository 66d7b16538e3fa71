package discover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"github.com/linkerd/linkerd2-proxy-api/go/net"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/outrigger-mesh/outrigger/tls"
)

// FromWeightedAddr returns the endpoint that w describes. Its labels are those
// of its set, overlaid by its own. An endpoint whose address or identity makes
// no sense is an error: to take a broken identity for none would speak to it in
// the clear.
func FromWeightedAddr(w *pb.WeightedAddr, set map[string]string) (Endpoint, error) {
	addr, err := FromTCPAddress(w.GetAddr())
	if err != nil {
		return Endpoint{}, err
	}
	id, sni, err := identity(w.GetTlsIdentity())
	if err != nil {
		return Endpoint{}, fmt.Errorf("endpoint %s: %w", addr, err)
	}
	return Endpoint{
		Addr:        addr,
		ID:          id,
		ServerName:  sni,
		Weight:      w.GetWeight(),
		Hint:        hint(w.GetProtocolHint()),
		InboundPort: inboundPort(w.GetProtocolHint()),
		Authority:   authority(w.GetAuthorityOverride().GetAuthorityOverride()),
		Zone:        zone(w.GetMetricLabels()["zone_locality"]),
		HTTP2:       http2Params(w.GetHttp2()),
		Labels:      overlay(set, w.GetMetricLabels()),
	}, nil
}

// FromTCPAddress returns the address and port in a. An IPv4 address mapped into
// IPv6 becomes the IPv4 address that it is.
func FromTCPAddress(a *net.TcpAddress) (netip.AddrPort, error) {
	if a.GetPort() == 0 || a.GetPort() > math.MaxUint16 {
		return netip.AddrPort{}, fmt.Errorf("port %d is not between 1 and 65535", a.GetPort())
	}
	var ip netip.Addr
	switch kind := a.GetIp().GetIp().(type) {
	case *net.IPAddress_Ipv4:
		ip = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, kind.Ipv4)))
	case *net.IPAddress_Ipv6:
		b := binary.BigEndian.AppendUint64(nil, kind.Ipv6.GetFirst())
		ip = netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(b, kind.Ipv6.GetLast()))).Unmap()
	default:
		return netip.AddrPort{}, errors.New("address has no IP")
	}
	return netip.AddrPortFrom(ip, uint16(a.GetPort())), nil
}

// ToTCPAddress returns a as the API writes it.
func ToTCPAddress(a netip.AddrPort) *net.TcpAddress {
	ip := &net.IPAddress{}
	if v4 := a.Addr().Unmap(); v4.Is4() {
		b := v4.As4()
		ip.Ip = &net.IPAddress_Ipv4{Ipv4: binary.BigEndian.Uint32(b[:])}
	} else {
		b := v4.As16()
		ip.Ip = &net.IPAddress_Ipv6{Ipv6: &net.IPv6{
			First: binary.BigEndian.Uint64(b[:8]),
			Last:  binary.BigEndian.Uint64(b[8:]),
		}}
	}
	return &net.TcpAddress{Ip: ip, Port: uint32(a.Port())}
}

// Local returns e as it is reached from within its own pod: in the clear, and
// past its proxy, which is this one.
func (e Endpoint) Local() Endpoint {
	e.ID, e.ServerName, e.Hint, e.InboundPort, e.Authority = "", "", Unknown, 0, ""
	return e
}

// identity returns whom an endpoint must prove to be, and the name to ask it
// for. An ID by URI is no DNS name, so that it needs the name beside it.
func identity(t *pb.TlsIdentity) (id tls.ID, sni string, err error) {
	if t.GetServerName() != nil {
		if sni, err = ParseName(t.GetServerName().GetName()); err != nil {
			return "", "", fmt.Errorf("server name: %w", err)
		}
	}
	switch s := t.GetStrategy().(type) {
	case *pb.TlsIdentity_DnsLikeIdentity_:
		name, err := ParseName(s.DnsLikeIdentity.GetName())
		if err != nil {
			return "", "", fmt.Errorf("identity: %w", err)
		}
		if sni == "" {
			sni = name
		}
		return tls.ID(name), sni, nil
	case *pb.TlsIdentity_UriLikeIdentity_:
		uri, err := url.Parse(s.UriLikeIdentity.GetUri())
		if err != nil || !uri.IsAbs() || uri.Host == "" {
			return "", "", fmt.Errorf("identity %q is not an absolute URI", s.UriLikeIdentity.GetUri())
		}
		if sni == "" {
			return "", "", fmt.Errorf("identity %q comes without a server name", uri)
		}
		return tls.ID(s.UriLikeIdentity.GetUri()), sni, nil
	default:
		return "", "", nil
	}
}

// ParseName returns name in lower case and without its final dot, if it is a DNS
// name: labels of letters, digits, hyphens and underscores (RFC 1035, section
// 2.3.4), and no IP address.
func ParseName(name string) (string, error) {
	n := strings.ToLower(strings.TrimSuffix(name, "."))
	if len(n) > maxName {
		return "", fmt.Errorf("name of %d bytes is not a DNS name", len(name))
	}
	if _, err := netip.ParseAddr(n); err == nil {
		return "", fmt.Errorf("%q is an address, not a DNS name", name)
	}
	for label := range strings.SplitSeq(n, ".") {
		if label == "" || len(label) > maxLabel || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%q is not a DNS name", name)
		}
	}
	return n, nil
}

// The bounds of RFC 1035, section 2.3.4, on a name and on each label of it.
const (
	maxName  = 253
	maxLabel = 63
)

func hint(h *pb.ProtocolHint) Hint {
	switch h.GetProtocol().(type) {
	case *pb.ProtocolHint_H2_:
		return HTTP2
	case *pb.ProtocolHint_Opaque_:
		return Opaque
	default:
		return Unknown
	}
}

func inboundPort(h *pb.ProtocolHint) uint16 {
	if p := h.GetOpaqueTransport().GetInboundPort(); p <= math.MaxUint16 {
		return uint16(p)
	}
	return 0
}

// authority returns s if it is a host, perhaps with a port (RFC 3986, section
// 3.2), and otherwise nothing: it is to be sent to the endpoint as a header.
func authority(s string) string {
	u, err := url.Parse("//" + s)
	if err != nil || u.Host != s || u.Hostname() == "" {
		return ""
	}
	return s
}

func zone(locality string) Zone {
	switch strings.ToLower(locality) {
	case "local":
		return ZoneLocal
	case "remote":
		return ZoneRemote
	default:
		return ZoneUnknown
	}
}

// The bounds on an endpoint's labels: each goes into metrics, and is held once for
// each endpoint. What is over them is left out, or cut.
const (
	maxLabels     = 64
	maxLabelBytes = 256
)

// overlay joins an endpoint's labels with its set's. If there are too many, the
// first in the order of their keys stay, so that it is always the same ones.
func overlay(set, own map[string]string) Labels {
	if len(set)+len(own) == 0 {
		return ""
	}
	both := make(map[string]string, min(len(set)+len(own), 2*maxLabels))
	for _, labels := range []map[string]string{set, own} {
		for k, v := range labels {
			if len(k) <= maxLabelBytes {
				both[k] = strings.ToValidUTF8(v[:min(len(v), maxLabelBytes)], "")
			}
		}
	}
	if len(both) > maxLabels {
		for _, k := range slices.Sorted(maps.Keys(both))[maxLabels:] {
			delete(both, k)
		}
	}
	return NewLabels(both)
}

// http2Params takes over each group of settings that is complete: half a pair
// of windows, or half a keep-alive, means nothing.
func http2Params(p *pb.Http2ClientParams) HTTP2Params {
	var h HTTP2Params
	flow, in := p.GetFlowControl(), p.GetInternals()
	switch {
	case flow.GetAdaptiveFlowControl():
		h.AdaptiveWindows = true
	case flow.GetInitialStreamWindowSize() > 0 && flow.GetInitialConnectionWindowSize() > 0:
		h.StreamWindow = flow.GetInitialStreamWindowSize()
		h.ConnWindow = flow.GetInitialConnectionWindowSize()
	}
	interval, timeout := positive(p.GetKeepAlive().GetInterval()), positive(p.GetKeepAlive().GetTimeout())
	if interval > 0 && timeout > 0 {
		h.KeepAliveInterval, h.KeepAliveTimeout = interval, timeout
		h.KeepAliveWhileIdle = p.GetKeepAlive().GetWhileIdle()
	}
	h.MaxFrameSize = in.GetMaxFrameSize()
	h.MaxSendBuffer = in.GetMaxSendBufSize()
	h.MaxConcurrentResets = in.GetMaxConcurrentResetStreams()
	return h
}

// positive returns d, or zero if it is absent, negative or no duration.
func positive(d *durationpb.Duration) time.Duration {
	if !d.IsValid() {
		return 0
	}
	return max(0, d.AsDuration())
}
