package profiles

import (
	"reflect"
	"testing"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/protobuf/proto"
)

// try routes a few requests by all that is in p.
func try(t *testing.T, p *Profile, path, header string) {
	t.Helper()
	if len(p.Problems) > 2*maxProblems {
		t.Fatalf("%d problems", len(p.Problems))
	}
	for _, routes := range [][]Route{p.HTTP1, p.HTTP2, p.Opaque, p.TLS} {
		r := NewRouter(func(_ *Route, rule *Rule) *Rule { return rule })
		r.Update(routes)
		for _, method := range []string{"GET", "POST"} {
			rule, m, err := r.Route(request(method, "web.example.com:80", path, "x-canary", header))
			if err == nil && (rule != m.Rule || rule.Refusal == "" && rule.Distribution.Kind != NoBackends && len(rule.Distribution.Shares) == 0) {
				t.Fatalf("matched %+v", rule)
			}
		}
		r.RouteName("api.example.test")
		_ = r.String()
	}
	_ = render(p)
}

func FuzzPolicy(f *testing.F) {
	for _, policy := range examples(f) {
		b, err := proto.Marshal(policy)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "/a?b=c", "yes")
	}
	f.Fuzz(func(t *testing.T, b []byte, path, header string) {
		var policy pb.OutboundPolicy
		if proto.Unmarshal(b, &policy) != nil {
			return
		}
		p := newDecoder().decodePolicy(&policy)
		if !reflect.DeepEqual(p, newDecoder().decodePolicy(&policy)) {
			t.Fatal("the same policy, decoded twice, differs")
		}
		try(t, p, path, header)
	})
}

func FuzzProfile(f *testing.F) {
	for _, p := range []*destpb.DestinationProfile{
		{},
		{FullyQualifiedName: webName, Routes: []*destpb.Route{labelled("a", anyOf(pathIs("/a|/b"), not(methodIs(0))))}},
		{FullyQualifiedName: webName, OpaqueProtocol: true, DstOverrides: []*destpb.WeightedDst{override("a:1", 1), override("b:2", 0)}},
		{Endpoint: address(1, 80), RetryBudget: &destpb.RetryBudget{RetryRatio: 1}},
	} {
		b, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "/a?b=c", "yes")
	}
	policy := newDecoder().decodePolicy(examples(f)["outbound-service-default"])
	f.Fuzz(func(t *testing.T, b []byte, path, header string) {
		var profile destpb.DestinationProfile
		if proto.Unmarshal(b, &profile) != nil {
			return
		}
		sp := newDecoder().decodeProfile(&profile, 80)
		for _, target := range []Target{byAddr, byName} {
			for _, policy := range []*Profile{nil, policy} {
				p, err := combine(target, sp, policy)
				if err == nil {
					try(t, p, path, header)
				}
			}
		}
	})
}
