package profiles

import (
	"math"
	"strings"
	"testing"
	"time"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	routepb "github.com/linkerd/linkerd2-proxy-api/go/http_route"
	typespb "github.com/linkerd/linkerd2-proxy-api/go/http_types"
	metapb "github.com/linkerd/linkerd2-proxy-api/go/meta"
	netpb "github.com/linkerd/linkerd2-proxy-api/go/net"
	opaquepb "github.com/linkerd/linkerd2-proxy-api/go/opaque_route"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	tlspb "github.com/linkerd/linkerd2-proxy-api/go/tls_route"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/outrigger-mesh/outrigger/control"
)

func defaultMeta(name string) *metapb.Metadata {
	return &metapb.Metadata{Kind: &metapb.Metadata_Default{Default: name}}
}

func address(ip uint32, port uint32) *destpb.WeightedAddr {
	return &destpb.WeightedAddr{Addr: &netpb.TcpAddress{Ip: &netpb.IPAddress{Ip: &netpb.IPAddress_Ipv4{Ipv4: ip}}, Port: port}}
}

func balanced(path string) *pb.Backend {
	return &pb.Backend{Metadata: defaultMeta("b"), Kind: &pb.Backend_Balancer{Balancer: &pb.Backend_BalanceP2C{
		Discovery: &pb.Backend_EndpointDiscovery{Kind: &pb.Backend_EndpointDiscovery_Dst{
			Dst: &pb.Backend_EndpointDiscovery_DestinationGet{Path: path},
		}},
	}}}
}

func firstAvailable(backends ...*pb.Backend) *pb.HttpRoute_Distribution {
	var bs []*pb.HttpRoute_RouteBackend
	for _, b := range backends {
		bs = append(bs, &pb.HttpRoute_RouteBackend{Backend: b})
	}
	return &pb.HttpRoute_Distribution{Kind: &pb.HttpRoute_Distribution_FirstAvailable_{
		FirstAvailable: &pb.HttpRoute_Distribution_FirstAvailable{Backends: bs},
	}}
}

func random(weights ...uint32) *pb.HttpRoute_Distribution {
	var bs []*pb.HttpRoute_WeightedRouteBackend
	for _, w := range weights {
		bs = append(bs, &pb.HttpRoute_WeightedRouteBackend{Weight: w, Backend: &pb.HttpRoute_RouteBackend{Backend: balanced("web:80")}})
	}
	return &pb.HttpRoute_Distribution{Kind: &pb.HttpRoute_Distribution_RandomAvailable_{
		RandomAvailable: &pb.HttpRoute_Distribution_RandomAvailable{Backends: bs},
	}}
}

// http1 returns a policy of one HTTP/1 route of that rule.
func http1(rule *pb.HttpRoute_Rule, hosts ...*routepb.HostMatch) *pb.OutboundPolicy {
	return &pb.OutboundPolicy{
		Metadata: defaultMeta("parent"),
		Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Http1_{Http1: &pb.ProxyProtocol_Http1{Routes: []*pb.HttpRoute{{
			Metadata: defaultMeta("route"), Hosts: hosts, Rules: []*pb.HttpRoute_Rule{rule},
		}}}}},
	}
}

func serving() *pb.HttpRoute_Rule {
	return &pb.HttpRoute_Rule{Backends: firstAvailable(balanced("web:80"))}
}

// Each thing that is wrong with a rule makes that rule refuse, names the field,
// and leaves the rule beside it alone.
func TestInvalidRules(t *testing.T) {
	second := durationpb.New(time.Second)
	filter := func(f *pb.HttpRoute_Filter) func(*pb.HttpRoute_Rule) {
		return func(r *pb.HttpRoute_Rule) { r.Filters = []*pb.HttpRoute_Filter{f} }
	}
	redirect := func(p *routepb.RequestRedirect) func(*pb.HttpRoute_Rule) {
		return filter(&pb.HttpRoute_Filter{Kind: &pb.HttpRoute_Filter_Redirect{Redirect: p}})
	}
	inject := func(p *routepb.HttpFailureInjector) func(*pb.HttpRoute_Rule) {
		return filter(&pb.HttpRoute_Filter{Kind: &pb.HttpRoute_Filter_FailureInjector{FailureInjector: p}})
	}
	set := func(name, value string) func(*pb.HttpRoute_Rule) {
		return filter(&pb.HttpRoute_Filter{Kind: &pb.HttpRoute_Filter_RequestHeaderModifier{RequestHeaderModifier: &routepb.RequestHeaderModifier{
			Set: &typespb.Headers{Headers: []*typespb.Headers_Header{{Name: name, Value: []byte(value)}}},
		}}})
	}
	match := func(m *routepb.HttpRouteMatch) func(*pb.HttpRoute_Rule) {
		return func(r *pb.HttpRoute_Rule) { r.Matches = []*routepb.HttpRouteMatch{m} }
	}
	path := func(regex string) func(*pb.HttpRoute_Rule) {
		return match(&routepb.HttpRouteMatch{Path: &routepb.PathMatch{Kind: &routepb.PathMatch_Regex{Regex: regex}}})
	}
	retry := func(r *pb.HttpRoute_Retry) func(*pb.HttpRoute_Rule) {
		return func(rule *pb.HttpRoute_Rule) { rule.Retry = r }
	}
	conditions := func(first, last uint32) *pb.HttpRoute_Retry_Conditions {
		return &pb.HttpRoute_Retry_Conditions{StatusRanges: []*pb.HttpRoute_Retry_Conditions_StatusRange{{Start: first, End: last}}}
	}
	for name, tc := range map[string]struct {
		spoil func(*pb.HttpRoute_Rule)
		field string
	}{
		"no distribution":      {func(r *pb.HttpRoute_Rule) { r.Backends = nil }, "rules[0]: backends"},
		"unknown distribution": {func(r *pb.HttpRoute_Rule) { r.Backends = &pb.HttpRoute_Distribution{} }, "rules[0]: backends"},
		"first of none":        {func(r *pb.HttpRoute_Rule) { r.Backends = firstAvailable() }, "rules[0]: backends"},
		"random of none":       {func(r *pb.HttpRoute_Rule) { r.Backends = random() }, "rules[0]: backends"},
		"unknown filter":       {filter(&pb.HttpRoute_Filter{}), "rules[0]: filters[0]"},
		"redirect path":        {redirect(&routepb.RequestRedirect{Path: &routepb.PathModifier{Replace: &routepb.PathModifier_Full{Full: "a"}}}), "filters[0]: redirect: path"},
		"redirect path kind":   {redirect(&routepb.RequestRedirect{Path: &routepb.PathModifier{}}), "filters[0]: redirect: path"},
		"redirect path break":  {redirect(&routepb.RequestRedirect{Path: &routepb.PathModifier{Replace: &routepb.PathModifier_Prefix{Prefix: "/a\r\nb"}}}), "redirect: path"},
		"redirect host":        {redirect(&routepb.RequestRedirect{Host: "a/b"}), "filters[0]: redirect: host"},
		"redirect port":        {redirect(&routepb.RequestRedirect{Port: 65536}), "filters[0]: redirect: port"},
		"redirect status":      {redirect(&routepb.RequestRedirect{Status: 1000}), "filters[0]: redirect: status"},
		"redirect scheme":      {redirect(&routepb.RequestRedirect{Scheme: &typespb.Scheme{Type: &typespb.Scheme_Registered_{Registered: 9}}}), "redirect: scheme"},
		"redirect odd scheme":  {redirect(&routepb.RequestRedirect{Scheme: &typespb.Scheme{Type: &typespb.Scheme_Unregistered{Unregistered: "a b"}}}), "redirect: scheme"},
		"injected status":      {inject(&routepb.HttpFailureInjector{Status: 99}), "failure_injector.status"},
		"ratio of nothing":     {inject(&routepb.HttpFailureInjector{Status: 500, Ratio: &routepb.Ratio{Numerator: 1}}), "failure_injector.ratio"},
		"ratio over one":       {inject(&routepb.HttpFailureInjector{Status: 500, Ratio: &routepb.Ratio{Numerator: 2, Denominator: 1}}), "failure_injector.ratio"},
		"header name":          {set("a b", "c"), "filters[0]: request_header_modifier: set[0]"},
		"header value":         {set("a", "b\r\nc: d"), "filters[0]: request_header_modifier: set[0]"},
		"timeout":              {func(r *pb.HttpRoute_Rule) { r.Timeouts = &routepb.Timeouts{Idle: durationpb.New(-1)} }, "rules[0]: timeouts.idle"},
		"no duration": {func(r *pb.HttpRoute_Rule) {
			r.Timeouts = &routepb.Timeouts{Request: &durationpb.Duration{Nanos: -1, Seconds: 1}}
		}, "timeouts.request"},
		"retries":               {retry(&pb.HttpRoute_Retry{MaxRetries: 65536, Conditions: conditions(500, 599)}), "rules[0]: retry: max_retries"},
		"no conditions":         {retry(&pb.HttpRoute_Retry{}), "retry: conditions"},
		"status range":          {retry(&pb.HttpRoute_Retry{Conditions: conditions(500, 600)}), "retry: conditions.status_ranges[0]"},
		"status range of 0":     {retry(&pb.HttpRoute_Retry{Conditions: conditions(0, 200)}), "retry: conditions.status_ranges[0]"},
		"status range reversed": {retry(&pb.HttpRoute_Retry{Conditions: conditions(300, 200)}), "retry: conditions.status_ranges[0]"},
		"backoff":               {retry(&pb.HttpRoute_Retry{Conditions: conditions(1, 2), Backoff: &pb.ExponentialBackoff{MinBackoff: second}}), "retry: backoff"},
		"jitter":                {retry(&pb.HttpRoute_Retry{Conditions: conditions(1, 2), Backoff: &pb.ExponentialBackoff{MaxBackoff: second, JitterRatio: float32(math.NaN())}}), "retry: backoff"},
		"path regex":            {path("("), "rules[0]: matches[0]: path.regex"},
		"path regex that leaks": {path(`a)|(b`), "matches[0]: path.regex"},
		"path regex of quotes":  {path(`\Qa`), "matches[0]: path.regex"},
		"path regex too long":   {path(strings.Repeat("a", 1025)), "matches[0]: path.regex"},
		"path regex too large":  {path("((a{100}){10}b{1000}){1}" + strings.Repeat("c{1000}", 9)), "parts"},
		"path kind":             {match(&routepb.HttpRouteMatch{Path: &routepb.PathMatch{}}), "matches[0]: path"},
		"match header name":     {match(&routepb.HttpRouteMatch{Headers: []*routepb.HeaderMatch{{Name: ""}}}), "matches[0]: headers[0]"},
		"match header kind":     {match(&routepb.HttpRouteMatch{Headers: []*routepb.HeaderMatch{{Name: "a"}}}), "matches[0]: headers[0]"},
		"match header regex":    {match(&routepb.HttpRouteMatch{Headers: []*routepb.HeaderMatch{{Name: "a", Value: &routepb.HeaderMatch_Regex{Regex: "["}}}}), "headers[0]: regex"},
		"query name":            {match(&routepb.HttpRouteMatch{QueryParams: []*routepb.QueryParamMatch{{}}}), "matches[0]: query_params[0]"},
		"query kind":            {match(&routepb.HttpRouteMatch{QueryParams: []*routepb.QueryParamMatch{{Name: "a"}}}), "matches[0]: query_params[0]"},
		"query regex":           {match(&routepb.HttpRouteMatch{QueryParams: []*routepb.QueryParamMatch{{Name: "a", Value: &routepb.QueryParamMatch_Regex{Regex: "*"}}}}), "query_params[0]: regex"},
		"method":                {match(&routepb.HttpRouteMatch{Method: &typespb.HttpMethod{}}), "matches[0]: method"},
		"odd method":            {match(&routepb.HttpRouteMatch{Method: &typespb.HttpMethod{Type: &typespb.HttpMethod_Unregistered{Unregistered: "A B"}}}), "matches[0]: method"},
		"unknown method":        {match(&routepb.HttpRouteMatch{Method: &typespb.HttpMethod{Type: &typespb.HttpMethod_Registered_{Registered: 99}}}), "matches[0]: method"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := serving()
			tc.spoil(bad)
			policy := http1(bad)
			route := policy.GetProtocol().GetHttp1().Routes[0]
			route.Rules = append(route.Rules, serving())
			p := newDecoder().decodePolicy(policy)

			problems := strings.Join(p.Problems, "\n")
			if !strings.Contains(problems, tc.field) {
				t.Errorf("problems %q do not name %q", problems, tc.field)
			}
			if strings.Contains(tc.field, "parts") {
				return // nothing is left of it
			}
			rules := p.HTTP1[0].Rules
			if len(rules) != 2 || rules[0].Refusal == "" || rules[1].Refusal != "" {
				t.Errorf("rules %+v, want only the first to refuse", rules)
			}
			if !strings.HasPrefix(problems, "protocol.http1.routes[0].rules[0]: ") {
				t.Errorf("problems %q do not say where", problems)
			}
		})
	}
}

// A rule that cannot be obeyed still takes the requests that it was meant for,
// so that they do not go where they were not meant to go.
func TestInvalidMatchStillTakes(t *testing.T) {
	bad := serving()
	bad.Matches = []*routepb.HttpRouteMatch{{
		Path:    &routepb.PathMatch{Kind: &routepb.PathMatch_Regex{Regex: "("}},
		Headers: []*routepb.HeaderMatch{{Name: "X-A", Value: &routepb.HeaderMatch_Exact{Exact: []byte("1")}}},
	}}
	policy := http1(bad)
	policy.GetProtocol().GetHttp1().Routes[0].Rules = append(policy.GetProtocol().GetHttp1().Routes[0].Rules, serving())
	r := NewRouter(func(_ *Route, rule *Rule) string { return rule.Refusal })
	r.Update(newDecoder().decodePolicy(policy).HTTP1)

	if why, _, err := r.Route(request("GET", "a", "/b", "x-a", "1")); why == "" || err != nil {
		t.Errorf("a request that the rule may have been meant for goes on: %v", err)
	}
	if why, _, err := r.Route(request("GET", "a", "/b")); why != "" || err != nil {
		t.Errorf("a request that the rule was not meant for is refused: %s %v", why, err)
	}
}

func TestInvalidBackends(t *testing.T) {
	for name, tc := range map[string]struct {
		b    *pb.Backend
		want string // of the refusal
	}{
		"nil":             {nil, "no dispatcher"},
		"no kind":         {&pb.Backend{Metadata: defaultMeta("x")}, "backend for default /x has no dispatcher"},
		"empty path":      {balanced(""), "not name:port"},
		"no port":         {balanced("web"), "not name:port"},
		"port 0":          {balanced("web:0"), "port is not between"},
		"huge port":       {balanced("web:65536"), "port is not between"},
		"an address":      {balanced("10.0.0.1:80"), "address, not a DNS name"},
		"an IPv6 address": {balanced("[::1]:80"), "address, not a DNS name"},
		"odd name":        {balanced("a b:80"), "not a DNS name"},
		"forward nowhere": {&pb.Backend{Metadata: defaultMeta("x"), Kind: &pb.Backend_Forward{}}, "port 0"},
		"forward, port 0": {&pb.Backend{Metadata: defaultMeta("x"), Kind: &pb.Backend_Forward{Forward: address(1, 0)}}, "port 0"},
		"no discovery":    {&pb.Backend{Metadata: defaultMeta("x"), Kind: &pb.Backend_Balancer{}}, "not name:port"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newDecoder().decodePolicy(http1(&pb.HttpRoute_Rule{Backends: firstAvailable(tc.b, balanced("web:80"))}))
			rule := p.HTTP1[0].Rules[0]
			if rule.Refusal != "" || len(rule.Distribution.Shares) != 2 {
				t.Fatalf("rule %+v, want it to stand with both backends", rule)
			}
			if got := rule.Distribution.Shares[0].Backend.Refusal; !strings.Contains(got, tc.want) {
				t.Errorf("refusal %q, want %q", got, tc.want)
			}
			if b := rule.Distribution.Shares[1].Backend; b.Refusal != "" || b.Name != "web:80" {
				t.Errorf("the other backend is %+v", b)
			}
		})
	}
}

func TestInvalidBackendFilter(t *testing.T) {
	dist := random(1, 1)
	dist.GetRandomAvailable().Backends[0].Backend.Filters = []*pb.HttpRoute_Filter{{}}
	shares := newDecoder().decodePolicy(http1(&pb.HttpRoute_Rule{Backends: dist})).HTTP1[0].Rules[0].Distribution.Shares
	if shares[0].Backend.Refusal == "" || shares[0].Backend.Name != "" || shares[1].Backend.Refusal != "" {
		t.Errorf("shares %+v, want the first alone to refuse", shares)
	}
}

func TestWeights(t *testing.T) {
	for name, tc := range map[string]struct {
		weights []uint32
		kind    DistributionKind
		left    []uint32
	}{
		"some zero":      {[]uint32{0, 3, 0, 1}, ByWeight, []uint32{3, 1}},
		"all zero":       {[]uint32{0, 0}, NoBackends, nil},
		"one, zero":      {[]uint32{0}, NoBackends, nil},
		"beyond 32 bits": {[]uint32{math.MaxUint32, math.MaxUint32}, ByWeight, []uint32{math.MaxUint32, math.MaxUint32}},
	} {
		dist := newDecoder().decodePolicy(http1(&pb.HttpRoute_Rule{Backends: random(tc.weights...)})).HTTP1[0].Rules[0].Distribution
		if dist.Kind != tc.kind || len(dist.Shares) != len(tc.left) {
			t.Fatalf("%s: got %+v", name, dist)
		}
		for i, s := range dist.Shares {
			if s.Weight != tc.left[i] {
				t.Errorf("%s: weight %d is %d, want %d", name, i, s.Weight, tc.left[i])
			}
		}
	}
}

// Names are for people: what lacks one is served all the same, and a backend
// without a queue has the configured one.
func TestMissingMetadata(t *testing.T) {
	p := newDecoder().decodePolicy(&pb.OutboundPolicy{
		Metadata: &metapb.Metadata{Kind: &metapb.Metadata_Resource{Resource: &metapb.Resource{Kind: "Service", Port: 70000}}},
		Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Http1_{Http1: &pb.ProxyProtocol_Http1{Routes: []*pb.HttpRoute{{
			Rules: []*pb.HttpRoute_Rule{{Backends: firstAvailable(&pb.Backend{Kind: balanced("web:80").GetKind()})}},
		}}}}},
	})
	rule := p.HTTP1[0].Rules[0]
	b := rule.Distribution.Shares[0].Backend
	if rule.Refusal != "" || b.Refusal != "" || b.Name != "web:80" || b.Load != defaultLoad() || b.Queue != (Queue{}) {
		t.Errorf("got %+v", rule)
	}
	if unknown := Default("unknown"); p.Parent != unknown || p.HTTP1[0].Meta != unknown || b.Meta != unknown || len(p.Problems) != 3 {
		t.Errorf("names %v, %v and %v, problems %q", p.Parent, p.HTTP1[0].Meta, b.Meta, p.Problems)
	}
}

func TestResourcePort(t *testing.T) {
	r := &metapb.Resource{Group: "core", Kind: "Service", Namespace: "ns", Name: "web", Port: 70000}
	d := newDecoder()
	if m := d.meta(&metapb.Metadata{Kind: &metapb.Metadata_Resource{Resource: r}}); m.Name != "web" || m.Port != 0 || len(d.problems) != 1 {
		t.Errorf("got %v, %q", m, d.problems)
	}
	if r.Port != 70000 {
		t.Error("the message was changed")
	}
}

// A policy of which nothing can be used refuses everything, as Linkerd's does.
func TestInvalidPolicies(t *testing.T) {
	for name, policy := range map[string]*pb.OutboundPolicy{
		"empty":         {},
		"no kind":       {Protocol: &pb.ProxyProtocol{}},
		"empty detect":  {Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Detect_{}}},
		"no http1":      {Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Http1_{}}},
		"no http2":      {Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Http2_{}}},
		"two opaque":    {Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Opaque_{Opaque: &pb.ProxyProtocol_Opaque{Routes: []*pb.OpaqueRoute{{}, {}}}}}},
		"no rule":       {Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Opaque_{Opaque: &pb.ProxyProtocol_Opaque{Routes: []*pb.OpaqueRoute{{}}}}}},
		"TLS, no rules": {Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Tls_{Tls: &pb.ProxyProtocol_Tls{Routes: []*pb.TlsRoute{{Snis: []*tlspb.SniMatch{{Match: &tlspb.SniMatch_Exact{Exact: "a"}}}}}}}}},
		"TLS, bad SNI":  {Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Tls_{Tls: &pb.ProxyProtocol_Tls{Routes: []*pb.TlsRoute{{Snis: []*tlspb.SniMatch{{}}, Rules: []*pb.TlsRoute_Rule{{}}}}}}}},
		"bad host":      http1(serving(), &routepb.HostMatch{}),
		"bad suffix":    http1(serving(), &routepb.HostMatch{Match: &routepb.HostMatch_Suffix_{Suffix: &routepb.HostMatch_Suffix{ReverseLabels: []string{"com", ""}}}}),
	} {
		t.Run(name, func(t *testing.T) {
			p := newDecoder().decodePolicy(policy)
			refused := 0
			for _, routes := range [][]Route{p.HTTP1, p.HTTP2, p.Opaque, p.TLS} {
				for _, r := range routes {
					if len(r.Hosts) > 0 || len(r.Rules) != 1 || r.Rules[0].Refusal == "" {
						t.Errorf("route %+v, want it to refuse everything", r)
					}
					refused++
				}
			}
			if refused == 0 || len(p.Problems) == 0 {
				t.Errorf("got %+v, want refusals and problems", p)
			}
		})
	}
}

func TestTooManyParts(t *testing.T) {
	policy := http1(serving())
	for range testLimits().Parts {
		policy.GetProtocol().GetHttp1().Routes[0].Rules = append(policy.GetProtocol().GetHttp1().Routes[0].Rules, &pb.HttpRoute_Rule{})
	}
	p := newDecoder().decodePolicy(policy)
	if p.Parent != Default("invalid") || len(p.HTTP1[0].Rules) != 1 || len(p.Problems) > maxProblems {
		t.Errorf("got %d routes and problems %q", len(p.HTTP1), p.Problems)
	}
	// Hosts and matches multiply.
	rule, hosts := serving(), []*routepb.HostMatch{}
	for range 200 {
		rule.Matches = append(rule.Matches, &routepb.HttpRouteMatch{})
		hosts = append(hosts, &routepb.HostMatch{Match: &routepb.HostMatch_Exact{Exact: "a"}})
	}
	if p := newDecoder().decodePolicy(http1(rule, hosts...)); p.Parent != Default("invalid") {
		t.Error("200 hosts times 200 matches are within 10,000 parts")
	}
}

func TestConnectionFilters(t *testing.T) {
	rule := &pb.OpaqueRoute_Rule{
		Backends: &pb.OpaqueRoute_Distribution{Kind: &pb.OpaqueRoute_Distribution_Empty_{}},
		Filters: []*pb.OpaqueRoute_Filter{
			{Kind: &pb.OpaqueRoute_Filter_Invalid{Invalid: &opaquepb.Invalid{Message: "why"}}},
			{Kind: &pb.OpaqueRoute_Filter_Forbidden{Forbidden: &opaquepb.Forbidden{}}},
		},
	}
	p := newDecoder().decodePolicy(&pb.OutboundPolicy{Metadata: defaultMeta("p"), Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Opaque_{
		Opaque: &pb.ProxyProtocol_Opaque{Routes: []*pb.OpaqueRoute{{Metadata: defaultMeta("r"), Rules: []*pb.OpaqueRoute_Rule{rule}}}},
	}}})
	got := p.Opaque[0].Rules[0]
	if len(got.Filters) != 2 || got.Filters[0].String() != `invalid "why"` || got.Filters[1].Kind != Forbid || len(p.Problems) > 0 {
		t.Errorf("got %+v, problems %q", got, p.Problems)
	}
}

func TestFilters(t *testing.T) {
	d := newDecoder()
	for want, p := range map[string]*pb.HttpRoute_Filter{
		`failure_injector 503 "no" 1/1`: {Kind: &pb.HttpRoute_Filter_FailureInjector{FailureInjector: &routepb.HttpFailureInjector{Status: 503, Message: "no"}}},
		`failure_injector 503 "" 0/5`:   {Kind: &pb.HttpRoute_Filter_FailureInjector{FailureInjector: &routepb.HttpFailureInjector{Status: 503, Ratio: &routepb.Ratio{Denominator: 5}}}},
		`response_header_modifier +a "1" -x-y`: {Kind: &pb.HttpRoute_Filter_ResponseHeaderModifier{ResponseHeaderModifier: &routepb.ResponseHeaderModifier{
			Add: &typespb.Headers{Headers: []*typespb.Headers_Header{{Name: "A", Value: []byte("1")}}}, Remove: []string{"X-Y"},
		}}},
		`redirect {Status:301 Scheme: Host: Port:0 Path:{Kind:any Value:}}`: {Kind: &pb.HttpRoute_Filter_Redirect{Redirect: &routepb.RequestRedirect{}}},
		`redirect {Status:302 Scheme:https Host:h Port:8443 Path:{Kind:prefix Value:/new}}`: {Kind: &pb.HttpRoute_Filter_Redirect{Redirect: &routepb.RequestRedirect{
			Scheme: &typespb.Scheme{Type: &typespb.Scheme_Registered_{Registered: typespb.Scheme_HTTPS}}, Host: "h", Port: 8443, Status: 302,
			Path: &routepb.PathModifier{Replace: &routepb.PathModifier_Prefix{Prefix: "/new"}},
		}}},
	} {
		if f, err := d.httpFilter(p); err != nil || f.String() != want {
			t.Errorf("got %s, %v, want %s", f, err, want)
		}
	}
}

func TestLegacyRequestTimeout(t *testing.T) {
	old, newer := durationpb.New(time.Second), durationpb.New(2*time.Second)
	for want, p := range map[time.Duration]*routepb.Timeouts{time.Second: nil, 2 * time.Second: {Request: newer}} {
		if got, err := timeouts(p, old); err != nil || got.Request != want {
			t.Errorf("got %v, %v, want %v", got.Request, err, want)
		}
	}
}

func TestAccrual(t *testing.T) {
	second := durationpb.New(time.Second)
	backoff := &pb.ExponentialBackoff{MinBackoff: second, MaxBackoff: second}
	unified := func(u *pb.FailureAccrual_Unified) *pb.FailureAccrual {
		return &pb.FailureAccrual{Kind: &pb.FailureAccrual_Unified_{Unified: u}}
	}
	consecutive := func(c *pb.FailureAccrual_ConsecutiveFailures) *pb.FailureAccrual {
		return &pb.FailureAccrual{Kind: &pb.FailureAccrual_ConsecutiveFailures_{ConsecutiveFailures: c}}
	}
	off := Accrual{}
	b := control.Backoff{Min: time.Second, Max: time.Second}
	for name, tc := range map[string]struct {
		p    *pb.FailureAccrual
		want Accrual
	}{
		"none":            {nil, off},
		"no kind":         {&pb.FailureAccrual{}, off},
		"no backoff":      {consecutive(&pb.FailureAccrual_ConsecutiveFailures{MaxFailures: 3}), off},
		"consecutive":     {consecutive(&pb.FailureAccrual_ConsecutiveFailures{MaxFailures: 3, Backoff: backoff}), Accrual{On: true, MaxFailures: 3, Backoff: b}},
		"window":          {unified(&pb.FailureAccrual_Unified{SuccessRateThreshold: 0.12345, Backoff: backoff}), Accrual{On: true, Threshold: 1235, Window: 10 * time.Second, Backoff: b}},
		"NaN":             {unified(&pb.FailureAccrual_Unified{SuccessRateThreshold: math.NaN(), Backoff: backoff}), off},
		"over one":        {unified(&pb.FailureAccrual_Unified{SuccessRateThreshold: 1.1, Backoff: backoff}), off},
		"short window":    {unified(&pb.FailureAccrual_Unified{SuccessRateThreshold: 1, Decay: durationpb.New(1), Backoff: backoff}), off},
		"unused window":   {unified(&pb.FailureAccrual_Unified{Decay: durationpb.New(1), Backoff: backoff}), Accrual{On: true, Window: 1, Backoff: b}},
		"negative window": {unified(&pb.FailureAccrual_Unified{Decay: durationpb.New(-1), Backoff: backoff}), off},
		"many requests":   {unified(&pb.FailureAccrual_Unified{MinRequests: 1_000_001, Backoff: backoff}), off},
	} {
		d := newDecoder()
		if got := d.accrual(tc.p); got != tc.want || tc.p != nil && (len(d.problems) == 0) != got.On {
			t.Errorf("%s: got %+v, problems %q, want %+v", name, got, d.problems, tc.want)
		}
	}
}

func TestGRPCRetryCodes(t *testing.T) {
	r, err := newDecoder().grpcRetry(&pb.GrpcRoute_Retry{MaxRetries: 1 << 20, Conditions: &pb.GrpcRoute_Retry_Conditions{Cancelled: true, Unavailable: true}})
	if err != nil || !r.Codes.Has(1) || !r.Codes.Has(14) || r.Codes.Has(0) || r.Codes.Has(46) || r.Limit != 1<<20 {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := newDecoder().grpcRetry(&pb.GrpcRoute_Retry{}); err == nil {
		t.Error("a retry without conditions is taken")
	}
}
