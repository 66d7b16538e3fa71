package profiles

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	typespb "github.com/linkerd/linkerd2-proxy-api/go/http_types"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/outrigger-mesh/outrigger/discover"
)

const webName = "web.emoji.svc.cluster.local"

func pathIs(regex string) *pb.RequestMatch {
	return &pb.RequestMatch{Match: &pb.RequestMatch_Path{Path: &pb.PathMatch{Regex: regex}}}
}

func methodIs(m typespb.HttpMethod_Registered) *pb.RequestMatch {
	return &pb.RequestMatch{Match: &pb.RequestMatch_Method{Method: &typespb.HttpMethod{Type: &typespb.HttpMethod_Registered_{Registered: m}}}}
}

func allOf(ms ...*pb.RequestMatch) *pb.RequestMatch {
	return &pb.RequestMatch{Match: &pb.RequestMatch_All{All: &pb.RequestMatch_Seq{Matches: ms}}}
}

func anyOf(ms ...*pb.RequestMatch) *pb.RequestMatch {
	return &pb.RequestMatch{Match: &pb.RequestMatch_Any{Any: &pb.RequestMatch_Seq{Matches: ms}}}
}

func not(m *pb.RequestMatch) *pb.RequestMatch {
	return &pb.RequestMatch{Match: &pb.RequestMatch_Not{Not: m}}
}

// labelled is a route that is told by its label.
func labelled(name string, m *pb.RequestMatch) *pb.Route {
	return &pb.Route{Condition: m, MetricsLabels: map[string]string{"route": name}}
}

func override(authority string, weight uint32) *pb.WeightedDst {
	return &pb.WeightedDst{Authority: authority, Weight: weight}
}

func TestProfileConditions(t *testing.T) {
	get := methodIs(typespb.HttpMethod_GET)
	for _, tc := range []struct {
		m    *pb.RequestMatch
		path string
		want bool
	}{
		{pathIs("/a"), "/a", true},
		{pathIs("/a"), "/a?b", true},
		{pathIs("/a"), "/ab", false},
		{pathIs(" ^/a$\n"), "/a", true},
		{pathIs("/a|/b"), "/b", true},
		{pathIs("/a|/b"), "/axx", false}, // the reference anchors the text, not the group
		{get, "/", true},
		{methodIs(typespb.HttpMethod_POST), "/", false},
		{allOf(), "/", true},
		{anyOf(), "/", false},
		{not(anyOf()), "/", true},
		{not(allOf()), "/", false},
		{allOf(get, pathIs("/a")), "/a", true},
		{allOf(get, pathIs("/b")), "/a", false},
		{anyOf(pathIs("/b"), get), "/a", true},
		{anyOf(pathIs("/b"), not(get)), "/a", false},
		{allOf(nil, get, pathIs("(")), "/", true}, // what makes no sense is left out
	} {
		sp := newDecoder().decodeProfile(&pb.DestinationProfile{FullyQualifiedName: webName, Routes: []*pb.Route{labelled("it", tc.m)}}, 80)
		r := NewRouter(func(r *Route, _ *Rule) discover.Labels { return r.Labels })
		r.Update(sp.routes)
		got, _, err := r.Route(request("GET", "h", tc.path))
		if err != nil || (got != "") != tc.want {
			t.Errorf("%s takes %s: %v, %v", sp.routes[0].Rules[0].Matches[0], tc.path, got != "", err)
		}
	}
}

// Routes without a condition that can be used are dropped, the first that matches
// decides, and the rest goes the default way.
func TestProfileRoutes(t *testing.T) {
	sp := newDecoder().decodeProfile(&pb.DestinationProfile{
		FullyQualifiedName: webName + ".",
		RetryBudget:        &pb.RetryBudget{RetryRatio: 0.2, MinRetriesPerSecond: 10, Ttl: durationpb.New(10 * time.Second)},
		Routes: []*pb.Route{
			labelled("none", nil),
			labelled("bad", pathIs("(")),
			labelled("not bad", not(pathIs("("))),
			{Condition: pathIs("/a/.*"), IsRetryable: true, Timeout: durationpb.New(time.Second), MetricsLabels: map[string]string{"route": "first"}},
			labelled("second", pathIs("/a/b/c")),
			{Condition: pathIs("/bad"), Timeout: durationpb.New(-1), MetricsLabels: map[string]string{"route": "negative"}},
		},
	}, 8080)
	if sp.name != webName+":8080" || len(sp.routes) != 4 || len(sp.problems) != 4 || !sp.routesHTTP() {
		t.Fatalf("got %+v", sp)
	}
	r := NewRouter(func(*Route, *Rule) int { return 0 })
	r.Update(sp.routes)
	_, m, _ := r.Route(request("GET", "h", "/a/b/c"))
	if m.Route.Labels.Get("route") != "first" || m.Rule.Retry.By != ByBudget || m.Rule.Timeouts != (Timeouts{Profile: time.Second}) {
		t.Errorf("got %+v", m.Rule)
	}
	if s := m.Rule.Distribution.Shares; len(s) != 1 || s[0].Backend.Name != webName+":8080" || s[0].Backend.Meta.Namespace != "emoji" {
		t.Errorf("shares %+v", s)
	}
	_, m, _ = r.Route(request("GET", "h", "/x"))
	if m.Route.Labels != "" || m.Rule.Retry.By != NoRetry || m.Rule.Timeouts != (Timeouts{}) {
		t.Errorf("the default is %+v", m.Route)
	}
	if !strings.HasPrefix(sp.problems[1], "routes[1]: condition: path.regex: ") {
		t.Errorf("problems %q", sp.problems)
	}
}

func TestOverrides(t *testing.T) {
	for name, tc := range map[string]struct {
		overrides []*pb.WeightedDst
		want      []string // names; nil means the apex
	}{
		"none":     {nil, nil},
		"two":      {[]*pb.WeightedDst{override("a.ns.svc:1", 1), override("B.ns.svc.:2", 2)}, []string{"a.ns.svc:1", "b.ns.svc:2"}},
		"zeros":    {[]*pb.WeightedDst{override("a:1", 0), override("b:2", 2)}, []string{"b:2"}},
		"all zero": {[]*pb.WeightedDst{override("a:1", 0)}, nil},
		"bad": {[]*pb.WeightedDst{
			override("", 1), override("a", 1), override("a:0", 1), override("10.0.0.1:80", 1), override("a b:1", 1), override("ok:1", 1),
		}, []string{"ok:1"}},
	} {
		sp := newDecoder().decodeProfile(&pb.DestinationProfile{FullyQualifiedName: webName, DstOverrides: tc.overrides}, 80)
		dist := sp.distribution()
		if tc.want == nil {
			if dist.Kind != FirstReady || dist.Shares[0].Backend.Name != webName+":80" || sp.routesHTTP() {
				t.Errorf("%s: got %+v, want the apex", name, dist)
			}
			continue
		}
		var got []string
		for _, s := range dist.Shares {
			got = append(got, s.Backend.Name)
		}
		if dist.Kind != ByWeight || strings.Join(got, " ") != strings.Join(tc.want, " ") || !sp.routesHTTP() {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestBudget(t *testing.T) {
	ten := durationpb.New(10 * time.Second)
	for name, tc := range map[string]struct {
		p  *pb.RetryBudget
		ok bool
	}{
		"none":           {nil, false},
		"usual":          {&pb.RetryBudget{RetryRatio: 0.2, MinRetriesPerSecond: 10, Ttl: ten}, true},
		"zero ratio":     {&pb.RetryBudget{Ttl: ten}, true},
		"no ttl":         {&pb.RetryBudget{RetryRatio: 1}, false},
		"short ttl":      {&pb.RetryBudget{Ttl: durationpb.New(time.Second - 1)}, false},
		"long ttl":       {&pb.RetryBudget{Ttl: durationpb.New(time.Minute + 1)}, false},
		"negative ratio": {&pb.RetryBudget{RetryRatio: -0.1, Ttl: ten}, false},
		"huge ratio":     {&pb.RetryBudget{RetryRatio: 1001, Ttl: ten}, false},
		"NaN":            {&pb.RetryBudget{RetryRatio: float32(math.NaN()), Ttl: ten}, false},
		"infinite":       {&pb.RetryBudget{RetryRatio: float32(math.Inf(1)), Ttl: ten}, false},
		"huge minimum":   {&pb.RetryBudget{MinRetriesPerSecond: math.MaxInt32 + 1, Ttl: ten}, false},
	} {
		sp := newDecoder().decodeProfile(&pb.DestinationProfile{
			FullyQualifiedName: webName, RetryBudget: tc.p,
			Routes: []*pb.Route{{Condition: allOf(), IsRetryable: true}},
		}, 80)
		if got := sp.routes[0].Rules[0].Retry.By == ByBudget; got != tc.ok || (sp.budget != Budget{}) != tc.ok {
			t.Errorf("%s: retries %v, budget %+v, want %v", name, got, sp.budget, tc.ok)
		}
	}
}

func TestResponseClasses(t *testing.T) {
	status := func(low, high uint32) *pb.ResponseMatch {
		return &pb.ResponseMatch{Match: &pb.ResponseMatch_Status{Status: &pb.HttpStatusRange{Min: low, Max: high}}}
	}
	seq := func(ms ...*pb.ResponseMatch) *pb.ResponseMatch_Seq { return &pb.ResponseMatch_Seq{Matches: ms} }
	for _, tc := range []struct {
		m    *pb.ResponseMatch
		want string // "" if dropped
	}{
		{status(500, 599), "status 500-599"},
		{status(500, 0), ""},
		{status(99, 200), ""},
		{status(100, 1000), ""},
		{nil, ""},
		{&pb.ResponseMatch{Match: &pb.ResponseMatch_All{All: seq()}}, ""},
		{&pb.ResponseMatch{Match: &pb.ResponseMatch_Any{Any: seq(status(0, 0))}}, ""},
		{&pb.ResponseMatch{Match: &pb.ResponseMatch_Any{Any: seq(status(0, 0), status(404, 404))}}, "any(status 404-404)"},
		{&pb.ResponseMatch{Match: &pb.ResponseMatch_All{All: seq(status(400, 499), &pb.ResponseMatch{Match: &pb.ResponseMatch_Not{Not: status(404, 404)}})}}, "all(status 400-499, not(status 404-404))"},
		{&pb.ResponseMatch{Match: &pb.ResponseMatch_Not{Not: status(0, 1)}}, ""},
	} {
		classes := newDecoder().classes([]*pb.ResponseClass{{Condition: tc.m, IsFailure: true}})
		got := ""
		if len(classes) > 0 && classes[0].Failure {
			got = classes[0].Condition.String()
		}
		if got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestProfileNames(t *testing.T) {
	for fqn, want := range map[string]Meta{
		webName:             {Group: "core", Kind: "Service", Namespace: "emoji", Name: "web", Port: 80},
		"web.emoji.svc":     {Group: "core", Kind: "Service", Namespace: "emoji", Name: "web", Port: 80},
		"example.com":       Default("unknown"),
		"a.b.example.com":   Default("unknown"),
		"not a name":        Default("unknown"),
		"10.0.0.1":          Default("unknown"),
		"pod.web.emoji.svc": Default("unknown"),
	} {
		sp := newDecoder().decodeProfile(&pb.DestinationProfile{FullyQualifiedName: fqn, Routes: []*pb.Route{labelled("a", allOf())}}, 80)
		if sp.parent != want {
			t.Errorf("%s: parent %v, want %v", fqn, sp.parent, want)
		}
		if named := sp.name != ""; named == strings.ContainsAny(fqn, " 1") || named != sp.routesHTTP() {
			t.Errorf("%s: name %q, routes HTTP %v", fqn, sp.name, sp.routesHTTP())
		}
	}
}

func TestProfileEndpoint(t *testing.T) {
	d := newDecoder()
	d.local = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	secured := func(ip uint32) *pb.DestinationProfile {
		w := address(ip, 8080)
		w.TlsIdentity = &pb.TlsIdentity{Strategy: &pb.TlsIdentity_DnsLikeIdentity_{DnsLikeIdentity: &pb.TlsIdentity_DnsLikeIdentity{Name: "id.example"}}}
		return &pb.DestinationProfile{Endpoint: w}
	}
	if b := d.decodeProfile(secured(0x0a000001), 80).endpoint; b.Endpoint.ID != "" || b.Endpoint.Addr.String() != "10.0.0.1:8080" {
		t.Errorf("a local endpoint is %+v", b)
	}
	if b := d.decodeProfile(secured(0x0a000002), 80).endpoint; b.Endpoint.ID != "id.example" {
		t.Errorf("another endpoint is %+v", b)
	}
	broken := secured(1)
	broken.Endpoint.TlsIdentity.GetDnsLikeIdentity().Name = ""
	if b := d.decodeProfile(broken, 80).endpoint; b.Refusal == "" || b.Endpoint.Addr.IsValid() {
		t.Errorf("an endpoint with a broken identity is %+v, want a refusal", b)
	}
}

func TestProfileTooLarge(t *testing.T) {
	p := &pb.DestinationProfile{FullyQualifiedName: webName}
	for range testLimits().Parts + 1 {
		p.Routes = append(p.Routes, labelled("a", nil))
	}
	sp := newDecoder().decodeProfile(p, 80)
	if len(sp.routes) != 1 || sp.routes[0].Rules[0].Refusal == "" || !sp.routesHTTP() {
		t.Errorf("got %d routes, the first %+v", len(sp.routes), sp.routes[0])
	}
	deep := not(allOf())
	for range 9000 {
		deep = not(deep)
	}
	sp = newDecoder().decodeProfile(&pb.DestinationProfile{FullyQualifiedName: webName, Routes: []*pb.Route{labelled("deep", deep)}}, 80)
	r := NewRouter(func(r *Route, _ *Rule) discover.Labels { return r.Labels })
	r.Update(sp.routes)
	if _, _, err := r.Route(request("GET", "", "/")); err != nil {
		t.Error(err)
	}
}
