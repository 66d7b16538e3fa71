package profiles

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/protobuf/types/known/durationpb"
)

var (
	byAddr = Target{Addr: netip.MustParseAddrPort("10.96.0.10:80")}
	byName = Target{Name: webName, Port: 80}
)

// Who routes what, and to where, for each pair of answers.
func TestCombine(t *testing.T) {
	all := examples(t)
	named := &destpb.DestinationProfile{FullyQualifiedName: webName}
	routed := &destpb.DestinationProfile{FullyQualifiedName: webName, Routes: []*destpb.Route{labelled("a", pathIs("/a"))}}
	split := &destpb.DestinationProfile{FullyQualifiedName: webName, DstOverrides: []*destpb.WeightedDst{override("v1.emoji.svc:80", 1), override("v2.emoji.svc:80", 1)}}
	nameless := &destpb.DestinationProfile{Routes: routed.Routes, DstOverrides: split.DstOverrides}
	opaque := &destpb.DestinationProfile{FullyQualifiedName: webName, OpaqueProtocol: true}
	opaqueSplit := &destpb.DestinationProfile{FullyQualifiedName: webName, OpaqueProtocol: true, DstOverrides: split.DstOverrides}
	endpoint := &destpb.DestinationProfile{Endpoint: address(0x0a000005, 8080)}
	opaqueEndpoint := &destpb.DestinationProfile{Endpoint: address(0x0a000005, 8080), OpaqueProtocol: true}
	nothing := &destpb.DestinationProfile{}

	const (
		pod    = "10.0.0.5:8080"
		orig   = "10.96.0.10:80"
		apex   = webName + ":80"
		v1v2   = "v1.emoji.svc:80 v2.emoji.svc:80"
		dbName = "db.emoji.svc.cluster.local:3306"
	)
	for name, tc := range map[string]struct {
		t       Target
		profile *destpb.DestinationProfile
		policy  *pb.OutboundPolicy
		// protocol, source, parent, to where HTTP/1 goes, and opaque connections
		want [5]string
	}{
		"policy alone":                  {byAddr, nil, all["outbound-service-default"], [5]string{"detect", "policy", "Service.emoji.web:80", apex, apex}},
		"policy and a mere name":        {byAddr, named, all["outbound-service-default"], [5]string{"detect", "policy", "Service.emoji.web:80", apex, apex}},
		"routes":                        {byAddr, routed, all["outbound-service-default"], [5]string{"detect", "profile", "Service.emoji.web:80", apex, apex}},
		"split":                         {byAddr, split, all["outbound-service-default"], [5]string{"detect", "profile", "Service.emoji.web:80", v1v2, v1v2}},
		"routes without a name":         {byAddr, nameless, all["outbound-service-default"], [5]string{"detect", "policy", "Service.emoji.web:80", apex, apex}},
		"profile says opaque":           {byAddr, opaque, all["outbound-service-default"], [5]string{"opaque", "policy", "Service.emoji.web:80", apex, apex}},
		"opaque, policy for HTTP alone": {byAddr, opaque, all["outbound-service-appprotocol-http"], [5]string{"opaque", "policy", "Service.emoji.web:80", apex, apex}},
		"opaque, policy for gRPC":       {byAddr, opaque, all["outbound-grpcroute"], [5]string{"opaque", "policy", "Service.emoji.votes:8080", "", apex}},
		"opaque, policy for TLS":        {byAddr, opaqueEndpoint, all["outbound-tlsroute"], [5]string{"opaque", "policy", "Service.emoji.db:3306", "", pod}},
		"opaque split":                  {byAddr, opaqueSplit, all["outbound-service-opaque"], [5]string{"opaque", "profile", "Service.emoji.web:80", v1v2, v1v2}},
		"opaque policy":                 {byAddr, nothing, all["outbound-service-opaque"], [5]string{"opaque", "policy", "Service.emoji.db:3306", "", dbName}},
		"undefined port":                {byAddr, opaque, all["outbound-undefined-port"], [5]string{"opaque", "policy", "Service.emoji.web:81", "", "no backends"}},
		"invalid policy":                {byAddr, nil, &pb.OutboundPolicy{}, [5]string{"detect", "policy", "default.invalid", "refused", "refused"}},
		"nothing known":                 {byAddr, nil, nil, [5]string{"detect", "fallback", "default.fallback", orig, orig}},
		"endpoint":                      {byAddr, endpoint, nil, [5]string{"detect", "endpoint", "default.endpoint", pod, pod}},
		"opaque endpoint":               {byAddr, opaqueEndpoint, nil, [5]string{"opaque", "endpoint", "default.endpoint", pod, pod}},
		"empty profile":                 {byAddr, nothing, nil, [5]string{"detect", "fallback", "default.endpoint", orig, orig}},
		"routes without a policy":       {byAddr, routed, nil, [5]string{"detect", "profile", "Service.emoji.web:80", apex, orig}},
		"name, policy":                  {byName, nil, all["outbound-service-default"], [5]string{"detect", "policy", "Service.emoji.web:80", apex, apex}},
		"name, profile":                 {byName, named, nil, [5]string{"detect", "profile", "default.profile", apex, apex}},
		"name, endpoint":                {byName, endpoint, nil, [5]string{"detect", "endpoint", "default.endpoint", pod, pod}},
		"name, opaque":                  {byName, &destpb.DestinationProfile{OpaqueProtocol: true}, all["outbound-service-appprotocol-http"], [5]string{"opaque", "policy", "Service.emoji.web:80", apex, "refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			var sp *serviceProfile
			var policy *Profile
			if tc.profile != nil {
				sp = newDecoder().decodeProfile(tc.profile, tc.t.port())
			}
			if tc.policy != nil {
				policy = newDecoder().decodePolicy(tc.policy)
			}
			p, err := combine(tc.t, sp, policy)
			if err != nil {
				t.Fatal(err)
			}
			got := [5]string{p.Protocol.String(), p.Source.String(), p.Parent.String(), whither(p.HTTP1), whither(p.Opaque)}
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if sp != nil && p.Name != sp.name {
				t.Errorf("name %q, want %q", p.Name, sp.name)
			}
		})
	}
}

// whither says where the last of routes sends things.
func whither(routes []Route) string {
	if len(routes) == 0 {
		return ""
	}
	rule := routes[len(routes)-1].Rules[0]
	if rule.Refusal != "" {
		return "refused"
	}
	var to []string
	for _, s := range rule.Distribution.Shares {
		if s.Backend.Refusal != "" {
			return "refused"
		}
		if s.Backend.Name != "" {
			to = append(to, s.Backend.Name)
		} else {
			to = append(to, s.Backend.Endpoint.Addr.String())
		}
	}
	if len(to) == 0 {
		return rule.Distribution.Kind.String()
	}
	return strings.Join(to, " ")
}

func TestCombineUnknownName(t *testing.T) {
	for name, sp := range map[string]*serviceProfile{"no profile": nil, "an empty profile": {}} {
		if p, err := combine(byName, sp, nil); !errors.Is(err, ErrUnknownName) {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
	if _, err := Fallback(byName); !errors.Is(err, ErrUnknownName) {
		t.Errorf("the fallback of a name: %v", err)
	}
	if p, err := Fallback(byAddr); err != nil || whither(p.HTTP1) != byAddr.String() {
		t.Errorf("the fallback of an address: %+v, %v", p, err)
	}
}

// A ServiceProfile that routes brings its budget, and no breakers; one that does
// not leaves the policy's.
func TestCombineAccrual(t *testing.T) {
	policy := newDecoder().decodePolicy(examples(t)["outbound-failure-accrual-consecutive"])
	profile := &destpb.DestinationProfile{
		FullyQualifiedName: webName,
		RetryBudget:        &destpb.RetryBudget{RetryRatio: 0.2, Ttl: durationpb.New(10 * time.Second)},
	}
	if p, _ := combine(byAddr, newDecoder().decodeProfile(profile, 80), policy); !p.Accrual.On || p.Budget != (Budget{}) {
		t.Errorf("a mere name: accrual %+v, budget %+v", p.Accrual, p.Budget)
	}
	profile.Routes = []*destpb.Route{labelled("a", allOf())}
	if p, _ := combine(byAddr, newDecoder().decodeProfile(profile, 80), policy); p.Accrual.On || p.Budget == (Budget{}) {
		t.Errorf("routes: accrual %+v, budget %+v", p.Accrual, p.Budget)
	}
}

// What was decoded is shared among profiles, and combining leaves it as it is.
func TestCombineChangesNothing(t *testing.T) {
	policy := newDecoder().decodePolicy(examples(t)["outbound-service-default"])
	before := render(policy)
	sp := newDecoder().decodeProfile(&destpb.DestinationProfile{FullyQualifiedName: webName, OpaqueProtocol: true, Routes: []*destpb.Route{labelled("a", nil), labelled("b", allOf())}}, 80)
	p, _ := combine(byAddr, sp, policy)
	if render(policy) != before || len(policy.Problems) != 0 || len(p.Problems) != 1 {
		t.Errorf("the policy became\n%s", render(policy))
	}
}
