package discover

import (
	"net/netip"
	"testing"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"github.com/linkerd/linkerd2-proxy-api/go/net"
	"google.golang.org/protobuf/types/known/durationpb"
)

func v4(ip uint32, port uint32) *net.TcpAddress {
	return &net.TcpAddress{Ip: &net.IPAddress{Ip: &net.IPAddress_Ipv4{Ipv4: ip}}, Port: port}
}

func dns(name, sni string) *pb.TlsIdentity {
	t := &pb.TlsIdentity{Strategy: &pb.TlsIdentity_DnsLikeIdentity_{DnsLikeIdentity: &pb.TlsIdentity_DnsLikeIdentity{Name: name}}}
	if sni != "" {
		t.ServerName = &pb.TlsIdentity_DnsLikeIdentity{Name: sni}
	}
	return t
}

func uri(id, sni string) *pb.TlsIdentity {
	t := &pb.TlsIdentity{Strategy: &pb.TlsIdentity_UriLikeIdentity_{UriLikeIdentity: &pb.TlsIdentity_UriLikeIdentity{Uri: id}}}
	if sni != "" {
		t.ServerName = &pb.TlsIdentity_DnsLikeIdentity{Name: sni}
	}
	return t
}

func TestFromWeightedAddr(t *testing.T) {
	base := Endpoint{Addr: netip.MustParseAddrPort("10.0.0.1:80")}
	with := func(change func(*Endpoint)) Endpoint {
		e := base
		change(&e)
		return e
	}
	for name, tc := range map[string]struct {
		w    *pb.WeightedAddr
		set  map[string]string
		want Endpoint
	}{
		"bare": {w: &pb.WeightedAddr{}, want: base},
		"weight": {
			w:    &pb.WeightedAddr{Weight: 10000},
			want: with(func(e *Endpoint) { e.Weight = 10000 }),
		},
		"labels of the address win": {
			w:    &pb.WeightedAddr{MetricLabels: map[string]string{"pod": "a", "ns": "mine"}},
			set:  map[string]string{"ns": "theirs", "service": "s"},
			want: with(func(e *Endpoint) { e.Labels = NewLabels(map[string]string{"ns": "mine", "pod": "a", "service": "s"}) }),
		},
		"zone": {
			w: &pb.WeightedAddr{MetricLabels: map[string]string{"zone_locality": "LOCAL"}},
			want: with(func(e *Endpoint) {
				e.Zone, e.Labels = ZoneLocal, NewLabels(map[string]string{"zone_locality": "LOCAL"})
			}),
		},
		"dns identity": {
			w:    &pb.WeightedAddr{TlsIdentity: dns("Foo.ns.Example.", "")},
			want: with(func(e *Endpoint) { e.ID, e.ServerName = "foo.ns.example", "foo.ns.example" }),
		},
		"dns identity with server name": {
			w:    &pb.WeightedAddr{TlsIdentity: dns("foo.example", "gw.example")},
			want: with(func(e *Endpoint) { e.ID, e.ServerName = "foo.example", "gw.example" }),
		},
		"uri identity": {
			w:    &pb.WeightedAddr{TlsIdentity: uri("spiffe://root/ns/a", "gw.example")},
			want: with(func(e *Endpoint) { e.ID, e.ServerName = "spiffe://root/ns/a", "gw.example" }),
		},
		"no strategy is no identity": {
			w:    &pb.WeightedAddr{TlsIdentity: &pb.TlsIdentity{}},
			want: base,
		},
		"h2 and transport": {
			w: &pb.WeightedAddr{ProtocolHint: &pb.ProtocolHint{
				Protocol:        &pb.ProtocolHint_H2_{},
				OpaqueTransport: &pb.ProtocolHint_OpaqueTransport{InboundPort: 4143},
			}},
			want: with(func(e *Endpoint) { e.Hint, e.InboundPort = HTTP2, 4143 }),
		},
		"opaque, transport port out of bounds": {
			w: &pb.WeightedAddr{ProtocolHint: &pb.ProtocolHint{
				Protocol:        &pb.ProtocolHint_Opaque_{},
				OpaqueTransport: &pb.ProtocolHint_OpaqueTransport{InboundPort: 65536},
			}},
			want: with(func(e *Endpoint) { e.Hint = Opaque }),
		},
		"authority": {
			w:    &pb.WeightedAddr{AuthorityOverride: &pb.AuthorityOverride{AuthorityOverride: "web.ns.svc:80"}},
			want: with(func(e *Endpoint) { e.Authority = "web.ns.svc:80" }),
		},
		"bad authority": {
			w:    &pb.WeightedAddr{AuthorityOverride: &pb.AuthorityOverride{AuthorityOverride: "web\r\nx: y"}},
			want: base,
		},
		"authority with a path": {
			w:    &pb.WeightedAddr{AuthorityOverride: &pb.AuthorityOverride{AuthorityOverride: "web/x"}},
			want: base,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.w.Addr = v4(0x0a000001, 80)
			got, err := FromWeightedAddr(tc.w, tc.set)
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

// What cannot be understood is left out, never spoken to in the clear.
func TestFromWeightedAddrRefuses(t *testing.T) {
	for name, w := range map[string]*pb.WeightedAddr{
		"nil":                     nil,
		"no address":              {},
		"no ip":                   {Addr: &net.TcpAddress{Port: 80}},
		"port 0":                  {Addr: v4(1, 0)},
		"port 65536":              {Addr: v4(1, 65536)},
		"empty dns identity":      {Addr: v4(1, 80), TlsIdentity: dns("", "")},
		"bad dns identity":        {Addr: v4(1, 80), TlsIdentity: dns("a b", "")},
		"empty label":             {Addr: v4(1, 80), TlsIdentity: dns("a..b", "")},
		"address as identity":     {Addr: v4(1, 80), TlsIdentity: dns("10.0.0.1", "")},
		"bad server name":         {Addr: v4(1, 80), TlsIdentity: dns("a", "b/c")},
		"uri without server name": {Addr: v4(1, 80), TlsIdentity: uri("spiffe://root/a", "")},
		"relative uri":            {Addr: v4(1, 80), TlsIdentity: uri("a/b", "a")},
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := FromWeightedAddr(w, nil); err == nil {
				t.Errorf("got %+v, want an error", e)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, want := range []string{"10.1.2.3:80", "[2001:db8::1]:443", "[::1]:1"} {
		a := netip.MustParseAddrPort(want)
		if got, err := FromTCPAddress(ToTCPAddress(a)); err != nil || got != a {
			t.Errorf("%s became %s, %v", want, got, err)
		}
	}
	mapped := &net.TcpAddress{Port: 80, Ip: &net.IPAddress{Ip: &net.IPAddress_Ipv6{Ipv6: &net.IPv6{Last: 0xffff_0a000001}}}}
	if got, err := FromTCPAddress(mapped); err != nil || got.String() != "10.0.0.1:80" {
		t.Errorf("a mapped address became %s, %v", got, err)
	}
}

func TestHTTP2Params(t *testing.T) {
	s := durationpb.New(time.Second)
	for name, tc := range map[string]struct {
		p    *pb.Http2ClientParams
		want HTTP2Params
	}{
		"none":     {nil, HTTP2Params{}},
		"windows":  {&pb.Http2ClientParams{FlowControl: &pb.Http2ClientParams_FlowControl{InitialStreamWindowSize: 1, InitialConnectionWindowSize: 2}}, HTTP2Params{StreamWindow: 1, ConnWindow: 2}},
		"half":     {&pb.Http2ClientParams{FlowControl: &pb.Http2ClientParams_FlowControl{InitialStreamWindowSize: 1}}, HTTP2Params{}},
		"adaptive": {&pb.Http2ClientParams{FlowControl: &pb.Http2ClientParams_FlowControl{AdaptiveFlowControl: true, InitialStreamWindowSize: 1, InitialConnectionWindowSize: 2}}, HTTP2Params{AdaptiveWindows: true}},
		"keep-alive": {
			&pb.Http2ClientParams{KeepAlive: &pb.Http2ClientParams_KeepAlive{Interval: s, Timeout: s, WhileIdle: true}},
			HTTP2Params{KeepAliveInterval: time.Second, KeepAliveTimeout: time.Second, KeepAliveWhileIdle: true},
		},
		"half a keep-alive":   {&pb.Http2ClientParams{KeepAlive: &pb.Http2ClientParams_KeepAlive{Interval: s, WhileIdle: true}}, HTTP2Params{}},
		"negative keep-alive": {&pb.Http2ClientParams{KeepAlive: &pb.Http2ClientParams_KeepAlive{Interval: s, Timeout: durationpb.New(-1)}}, HTTP2Params{}},
		"broken duration":     {&pb.Http2ClientParams{KeepAlive: &pb.Http2ClientParams_KeepAlive{Interval: s, Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}}}, HTTP2Params{}},
		"internals":           {&pb.Http2ClientParams{Internals: &pb.Http2ClientParams_Internals{MaxConcurrentResetStreams: 1, MaxFrameSize: 2, MaxSendBufSize: 3}}, HTTP2Params{MaxConcurrentResets: 1, MaxFrameSize: 2, MaxSendBuffer: 3}},
	} {
		if got := http2Params(tc.p); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestLocal(t *testing.T) {
	e := Endpoint{
		Addr: netip.MustParseAddrPort("10.0.0.1:80"), ID: "a", ServerName: "a", Hint: HTTP2,
		InboundPort: 4143, Authority: "b", Weight: 7,
	}
	if got, want := e.Local(), (Endpoint{Addr: e.Addr, Weight: 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
