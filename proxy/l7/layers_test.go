package l7_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/tls"
)

var errDown = errors.New("down")

func TestRescueAnswersErrors(t *testing.T) {
	answer := func(_ *stack.Request, err error) *stack.Response {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return &stack.Response{Status: 502, Body: stack.Empty()}
	}
	for name, tt := range map[string]struct {
		svc    stack.Service
		status int
		err    error
	}{
		"no error":            {hello, 200, nil},
		"an error":            {l7.Fail(errDown), 502, nil},
		"nobody is to answer": {l7.Fail(context.Canceled), 0, context.Canceled},
	} {
		resp, err := l7.Rescue(answer)(tt.svc)(t.Context(), request())
		if !errors.Is(err, tt.err) || (resp != nil) != (tt.status != 0) || resp != nil && resp.Status != tt.status {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
}

// TestRescueOfWhoHasLeft: nobody is there to be answered, and no failure to be logged.
func TestRescueOfWhoHasLeft(t *testing.T) {
	x := &stack.Exchange{}
	x.End(errDown)
	svc := l7.Rescue(func(*stack.Request, error) *stack.Response {
		t.Error("a client that has left is answered")
		return nil
	})(l7.Fail(errDown))
	if _, err := svc(x, request()); !errors.Is(err, errDown) {
		t.Error(err)
	}
}

func TestShedCountsToTheBodysEnd(t *testing.T) {
	shed := l7.NewInFlight(1).Shed
	one, other := shed(hello), shed(hello)
	resp, err := one(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other(t.Context(), request()); !errors.Is(err, l7.ErrShed) {
		t.Errorf("while the first body is unread: %v, want ErrShed", err)
	}
	_, _ = resp.Body.Next(t.Context())
	if _, err := other(t.Context(), request()); err != nil {
		t.Errorf("after the first body's end: %v", err)
	}
	failing := l7.NewInFlight(1).Shed(l7.Fail(errDown))
	for range 3 {
		if _, err := failing(t.Context(), request()); !errors.Is(err, errDown) {
			t.Fatalf("a request that failed is still counted: %v", err)
		}
	}
}

func TestNamedSaysWhich(t *testing.T) {
	_, err := l7.Named("endpoint 10.0.0.1:80")(l7.Fail(errDown))(t.Context(), request())
	if !errors.Is(err, errDown) || err.Error() != "endpoint 10.0.0.1:80: down" {
		t.Error(err)
	}
}

func TestNormalizeURI(t *testing.T) {
	layer := l7.NormalizeURI(func(*stack.Conn) string { return "10.0.0.1:80" })
	for name, tt := range map[string]struct {
		version   stack.Version
		had, want string
	}{
		"none in HTTP/1": {stack.HTTP10, "", "10.0.0.1:80"},
		"one in HTTP/1":  {stack.HTTP11, "app.test", "app.test"},
		"none in HTTP/2": {stack.HTTP2, "", ""},
	} {
		r := request()
		r.Version, r.Authority = tt.version, tt.had
		r.Header.Del("host")
		if _, err := layer(hello)(t.Context(), r); err != nil || r.Authority != tt.want || r.Header.Has("host") {
			t.Errorf("%s: authority %q, %v; want %q, and no host made up", name, r.Authority, err, tt.want)
		}
	}
}

// fields runs a layer over a request with those fields, and returns what of them
// comes out below.
func fields(t *testing.T, layer stack.Layer[stack.Service], peer tls.ID, in ...string) string {
	t.Helper()
	r := request()
	r.Conn.Peer = peer
	for i := 0; i < len(in); i += 2 {
		r.Header.Add(in[i], in[i+1])
	}
	if _, err := layer(hello)(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var out []string
	for name, value := range r.Header.All() {
		out = append(out, name+": "+value)
	}
	return strings.Join(out, ", ")
}

func TestMeshHeaders(t *testing.T) {
	for name, tt := range map[string]struct {
		layer stack.Layer[stack.Service]
		peer  tls.ID
		in    []string
		want  string
	}{
		"underscore twins go":         {l7.StripTwins, "", []string{"l5d_client_id", "x", "a", "1", "l5d_dst", "y"}, "host: app.test, a: 1"},
		"no twins":                    {l7.StripTwins, "", []string{"l5d-dst-canonical", "x"}, "host: app.test, l5d-dst-canonical: x"},
		"a client id is not believed": {l7.ClientID, "", []string{"l5d-client-id", "root", "l5d-client-id", "admin"}, "host: app.test"},
		"a client id that was proved": {l7.ClientID, "web.test", []string{"l5d-client-id", "root"}, "host: app.test, l5d-client-id: web.test"},
		"the destination is told":     {l7.Canonical("web.test:80"), "", []string{"l5d-dst-canonical", "evil:1"}, "host: app.test, l5d-dst-canonical: web.test:80"},
		"a gateway's authority":       {l7.OverrideAuthority("gw.test"), "", []string{"l5d-dst-canonical", "x"}, "host: gw.test"},
		"no gateway":                  {l7.OverrideAuthority(""), "", nil, "host: app.test"},
		"a required URI":              {l7.RequireID(discover.Endpoint{ID: "spiffe://a/B"}), "", []string{"l5d-require-id", "spiffe://a/B"}, "host: app.test"},
		"a required id that is there": {l7.RequireID(discover.Endpoint{ID: "web.test"}), "", []string{"l5d-require-id", "Web.test"}, "host: app.test"},
	} {
		if got := fields(t, tt.layer, tt.peer, tt.in...); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestOverrideAuthorityInHTTP2: a host beside :authority would be a second opinion.
func TestOverrideAuthorityInHTTP2(t *testing.T) {
	r := request()
	r.Version = stack.HTTP2
	if _, err := l7.OverrideAuthority("gw.test")(hello)(t.Context(), r); err != nil || r.Authority != "gw.test" || r.Header.Has("host") {
		t.Errorf("%q, %v, %v", r.Authority, r.Header, err)
	}
}

func TestRequireIDFailsClosed(t *testing.T) {
	for name, tt := range map[string]struct {
		has  tls.ID
		want []string
	}{
		"none in the clear":   {"", []string{"web.test"}},
		"another":             {"db.test", []string{"web.test"}},
		"empty":               {"", []string{""}},
		"not an id at all":    {"web.test", []string{"%$/"}},
		"one of two is wrong": {"web.test", []string{"web.test", "db.test"}},
		"a final dot":         {"web.test", []string{"web.test."}},
		"blanks":              {"web.test", []string{"web.test "}},
		"a list":              {"web.test", []string{"web.test, web.test"}},
		"a letter like ours":  {"kiwi.test", []string{"\u212aiwi.test"}}, // K, of Kelvin
		"a path in capitals":  {"spiffe://a/ns/web", []string{"spiffe://a/ns/WEB"}},
		"empty, beside one":   {"web.test", []string{"web.test", ""}},
	} {
		r := request()
		for _, w := range tt.want {
			r.Header.Add("l5d-require-id", w)
		}
		if _, err := l7.RequireID(discover.Endpoint{ID: tt.has})(unreachable(t))(t.Context(), r); !errors.Is(err, l7.ErrIdentity) {
			t.Errorf("%s: %v, want ErrIdentity", name, err)
		}
	}
}

func TestStripPeerErrors(t *testing.T) {
	svc := l7.StripPeerErrors(func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		resp, err := hello(ctx, r)
		resp.Header.Add("l5d-proxy-error", "forged")
		resp.Header.Add("l5d-proxy-connection", "close")
		resp.Header.Add("a", "1")
		return resp, err
	})
	resp, err := svc(t.Context(), request())
	if err != nil || resp.Header.Len() != 1 {
		t.Errorf("%v, %v", resp.Header, err)
	}
	if _, err := l7.StripPeerErrors(l7.Fail(errDown))(t.Context(), request()); !errors.Is(err, errDown) {
		t.Error(err)
	}
}

func TestAuthorize(t *testing.T) {
	r := request()
	r.Conn.Client = netip.MustParseAddrPort("192.0.2.1:5")
	if _, err := l7.Authorize(policy.AllUnauthenticated(policy.Detect))(hello)(t.Context(), r); err != nil {
		t.Error(err)
	}
	if _, err := l7.Authorize(&policy.Policy{})(unreachable(t))(t.Context(), r); !errors.Is(err, policy.ErrDenied) {
		t.Errorf("%v, want ErrDenied", err)
	}
}

func TestFilters(t *testing.T) {
	set := profiles.Filter{Kind: profiles.ModifyRequest, Headers: profiles.HeaderChange{
		Add: []profiles.Field{{Name: "a", Value: "1"}}, Set: []profiles.Field{{Name: "host", Value: "b"}}, Remove: []string{"c"},
	}}
	if got := fields(t, l7.Filters([]profiles.Filter{set}), "", "c", "3"); got != "host: b, a: 1" {
		t.Errorf("request: %s", got)
	}
	change := profiles.Filter{Kind: profiles.ModifyResponse, Headers: profiles.HeaderChange{Set: []profiles.Field{{Name: "x", Value: "1"}}}}
	resp, err := l7.Filters([]profiles.Filter{change})(hello)(t.Context(), request())
	if err != nil || resp.Header.Get("x") != "1" {
		t.Errorf("response: %v, %v", resp, err)
	}
	always := profiles.Filter{Kind: profiles.InjectFailure, Failure: profiles.Failure{Status: 418, Message: "teapot", Numerator: 1, Denominator: 1}}
	var injected *l7.Injected
	if _, err := l7.Filters([]profiles.Filter{always})(unreachable(t))(t.Context(), request()); !errors.As(err, &injected) || injected.Status != 418 || injected.GRPC != 9 {
		t.Errorf("injected: %v", err)
	}
	always.Failure.GRPC, always.Failure.Status = true, 7
	if _, err := l7.Filters([]profiles.Filter{always})(unreachable(t))(t.Context(), request()); !errors.As(err, &injected) || injected.Status != 200 || injected.GRPC != 7 {
		t.Errorf("injected into gRPC: %v", err)
	}
	for _, kind := range []profiles.FilterKind{profiles.Redirect, profiles.Forbid, profiles.Reject} {
		if _, err := l7.Filters([]profiles.Filter{{Kind: kind}})(unreachable(t))(t.Context(), request()); err == nil {
			t.Errorf("filter %v, which is not built, lets a request through", kind)
		}
	}
}

func TestClassed(t *testing.T) {
	r := request()
	if _, err := l7.Classed(func(status int) (failure, decided bool) { return status == 404, true })(hello)(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := l7.Classed(nil)(hello)(t.Context(), r); err != nil || r.Class == nil {
		t.Fatalf("%v; the class is gone", err)
	}
	if failure, decided := r.Class(404); !failure || !decided {
		t.Error("another class")
	}
}

func TestRoutedAndSplit(t *testing.T) {
	router := profiles.NewRouter(func(_ *profiles.Route, rule *profiles.Rule) stack.Service {
		return l7.Split(profiles.NewSplit(rule.Distribution, func(profiles.Share) (stack.Service, func() bool) {
			return hello, func() bool { return true }
		}))
	})
	svc := l7.Routed(router)
	if _, err := svc(t.Context(), request()); !errors.Is(err, profiles.ErrNoRoute) {
		t.Errorf("without routes: %v, want ErrNoRoute", err)
	}
	one := profiles.Distribution{Kind: profiles.FirstReady, Shares: []profiles.Share{{}}}
	router.Update([]profiles.Route{{Rules: []profiles.Rule{{Distribution: one}}}})
	if resp, err := svc(t.Context(), request()); err != nil || resp.Status != 200 {
		t.Errorf("%v, %v", resp, err)
	}
	router.Update([]profiles.Route{{Rules: []profiles.Rule{{}}}})
	if _, err := svc(t.Context(), request()); !errors.Is(err, profiles.ErrNoBackend) {
		t.Errorf("without backends: %v, want ErrNoBackend", err)
	}
}

// TestShedWithoutMemory sheds even while nothing is in flight, until there is memory.
func TestShedWithoutMemory(t *testing.T) {
	f := l7.NewInFlight(10)
	svc := f.Shed(hello)
	f.Spare(0)
	if _, err := svc(t.Context(), request()); !errors.Is(err, l7.ErrMemory) {
		t.Errorf("without memory: %v, want ErrMemory", err)
	}
	if f.Shorted() != 1 || f.Flying() != 0 {
		t.Errorf("%d were shed, %d are in flight", f.Shorted(), f.Flying())
	}
	asked := 0
	f.Ask(func() { asked++; f.Spare(1) })
	if _, err := svc(t.Context(), request()); err != nil || asked != 1 {
		t.Errorf("asked %d times whether there is memory, which there is: %v", asked, err)
	}
}
