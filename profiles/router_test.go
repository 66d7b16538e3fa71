package profiles

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func request(method, authority, path string, header ...string) *stack.Request {
	r := &stack.Request{Method: method, Authority: authority, Path: path}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// routed returns a Router over routes that are called by their Meta's name, and
// their rules by the first filter's message.
func routed(routes ...Route) *Router[string] {
	r := NewRouter(func(r *Route, rule *Rule) string {
		if len(rule.Filters) > 0 {
			return rule.Filters[0].Message
		}
		return r.Meta.Name
	})
	r.Update(routes)
	return r
}

// route is one route of one rule.
func route(name string, hosts []HostMatch, matches ...Match) Route {
	return Route{Meta: Default(name), Hosts: hosts, Rules: []Rule{{Matches: matches}}}
}

func TestHosts(t *testing.T) {
	exact, suffix := HostMatch{Name: "example.com"}, HostMatch{Suffix: true, Name: "example.com"}
	for _, tc := range []struct {
		h         HostMatch
		authority string
		want      bool
	}{
		{HostMatch{}, "", true},
		{HostMatch{}, "anything:80", true},
		{exact, "example.com", true},
		{exact, "EXAMPLE.com", true},
		{exact, "example.com:8080", true},
		{exact, "example.com.", true},
		{exact, "example.com.:80", true},
		{exact, "user:secret@example.com:80", true},
		{exact, "example.com..", false},
		{exact, "a.example.com", false},
		{exact, "", false},
		{HostMatch{Name: "example.com."}, "example.com.", true},
		{HostMatch{Name: "example.com."}, "example.com", false},
		{HostMatch{Name: "k.com"}, "\u212a.com", false}, // the Kelvin sign folds to k
		{suffix, "a.example.com", true},
		{suffix, "a.b.Example.Com:80", true},
		{suffix, "a.example.com.", true},
		{suffix, "example.com", false},
		{suffix, ".example.com", false},
		{suffix, "aexample.com", false},
		{suffix, "a-example.com", false},
		{suffix, "example.com.evil", false},
		{HostMatch{Suffix: true, Name: "example.com."}, "a.example.com.", true},
		{HostMatch{Suffix: true, Name: "example.com."}, "a.example.com", false},
		{HostMatch{Name: "[::1]"}, "[::1]:80", true},
		{HostMatch{Name: "[::1]"}, "[::1]", true},
		{HostMatch{Name: "10.0.0.1"}, "10.0.0.1:80", true},
	} {
		if got := tc.h.takes(host(tc.authority)); got != tc.want {
			t.Errorf("%s takes %q: %v", tc.h, tc.authority, got)
		}
	}
}

func TestMatches(t *testing.T) {
	path := func(kind MatchKind, value string) Match { return Match{Path: PathMatch{kind, value}} }
	header := func(kind MatchKind, value string) Match {
		return Match{Headers: []FieldMatch{{"x-a", kind, value}}}
	}
	query := func(kind MatchKind, value string) Match {
		return Match{Query: []FieldMatch{{"a", kind, value}}}
	}
	rpc := func(service, method string) Match { return Match{RPC: RPCMatch{true, service, method}} }
	get := func(path string, header ...string) *stack.Request { return request("GET", "h", path, header...) }
	post := func(path string) *stack.Request { return request("POST", "h", path) }

	for _, tc := range []struct {
		m    Match
		r    *stack.Request
		want bool
	}{
		{Match{}, get(""), true},
		{Match{}, get("*"), true},
		{path(Exact, "/foo"), get("/foo"), true},
		{path(Exact, "/foo"), get("/foo?a=b"), true},
		{path(Exact, "/foo"), get("/foo/"), false},
		{path(Exact, "/foo"), get("/FOO"), false},
		{path(Exact, "/foo"), get("/f%6fo"), false}, // compared as it is sent
		{path(Prefix, "/foo"), get("/foo"), true},
		{path(Prefix, "/foo"), get("/foo/"), true},
		{path(Prefix, "/foo"), get("/foo/bar"), true},
		{path(Prefix, "/foo"), get("/foobar"), false},
		{path(Prefix, "/foo"), get("/fo"), false},
		{path(Prefix, "/foo"), get("/foo?x"), true},
		{path(Prefix, "/foo/"), get("/foo"), true},
		{path(Prefix, "/foo/"), get("/foo/bar"), true},
		{path(Prefix, "/foo/"), get("/foobar"), false},
		{path(Prefix, "/"), get("/"), true},
		{path(Prefix, "/"), get("*"), true},
		{path(Prefix, "/"), get(""), true},
		{path(Regex, "/fo+"), get("/foo"), true},
		{path(Regex, "/fo+"), get("/foo?bar"), true},
		{path(Regex, "/fo+"), get("/foobar"), false},
		{path(Regex, "/fo+"), get("/x/foo"), false},
		{path(Regex, "/a|/ab"), get("/ab"), true}, // leftmost-first would stop at /a
		{path(Regex, "(?m)/a"), get("/a\nb"), false},
		{path(Regex, "("), get("("), false}, // decoding lets none through
		{Match{Method: "GET"}, get("/"), true},
		{Match{Method: "get"}, get("/"), false},
		{Match{Method: "POST"}, get("/"), false},
		{header(Exact, "1"), get("/", "x-a", "1"), true},
		{header(Exact, "1"), get("/", "x-a", "0", "x-a", "1"), true},
		{header(Exact, "1"), get("/", "x-a", "10"), false},
		{header(Exact, "1"), get("/", "x-b", "1"), false},
		{header(Exact, ""), get("/"), false},
		{header(Exact, "\xff"), get("/", "x-a", "\xff"), true},
		{header(Regex, "1|12"), get("/", "x-a", "12"), true},
		{header(Regex, "1+"), get("/", "x-a", "012"), false},
		{header(Regex, "(?s).*"), get("/", "x-a", "\xff"), false},
		{query(Exact, "1"), get("/?a=1"), true},
		{query(Exact, "1"), get("/?b=1&a=0&a=1&c"), true},
		{query(Exact, "1"), get("/?A=1"), false},
		{query(Exact, "1"), get("/"), false},
		{query(Exact, ""), get("/?a"), true},
		{query(Exact, "x y&z"), get("/?a=x+y%26z"), true},
		{query(Exact, "100%"), get("/?a=100%"), true},
		{query(Exact, "%zz"), get("/?%61=%zz"), true},
		{query(Regex, "1+"), get("/?a=11"), true},
		{query(Regex, "1+"), get("/?a=112"), false},
		{rpc("", ""), post("/s.v1/M"), true},
		{rpc("s.v1", ""), post("/s.v1/M"), true},
		{rpc("", "M"), post("/s.v1/M"), true},
		{rpc("s.v1", "M"), post("/s.v1/M"), true},
		{rpc("s.v1", "M"), post("/s.v1/N"), false},
		{rpc("s.v1", "M"), post("/s.v2/M"), false},
		{rpc("", ""), get("/s.v1/M"), false},
		{rpc("", ""), post("/s.v1"), false},
		{rpc("", ""), post("/s.v1/"), false},
		{rpc("", ""), post("//M"), false},
		{rpc("", ""), post("/s/M/x"), false},
		{rpc("", ""), post("s/M"), false},
	} {
		_, _, err := routed(route("x", nil, tc.m)).Route(tc.r)
		if (err == nil) != tc.want {
			t.Errorf("%s takes %s %s: %v", tc.m, tc.r.Method, tc.r.Path, err == nil)
		}
	}
}

// All parts of a match must hold, and any match of a rule suffices.
func TestMatchesTogether(t *testing.T) {
	all := Match{Method: "GET", Path: PathMatch{Prefix, "/a"}, Headers: []FieldMatch{{"x", Exact, "1"}, {"y", Exact, "2"}}}
	r := routed(Route{Meta: Default("r"), Rules: []Rule{{Matches: []Match{all, {Method: "DELETE"}}}}})
	for _, tc := range []struct {
		r    *stack.Request
		want bool
	}{
		{request("GET", "", "/a", "x", "1", "y", "2"), true},
		{request("GET", "", "/a", "x", "1"), false},
		{request("POST", "", "/a", "x", "1", "y", "2"), false},
		{request("GET", "", "/b", "x", "1", "y", "2"), false},
		{request("DELETE", "", "/b"), true},
	} {
		if _, _, err := r.Route(tc.r); (err == nil) != tc.want {
			t.Errorf("%s %s: %v", tc.r.Method, tc.r.Path, err)
		}
	}
}

// Of each list, the first is the one that a request which all of them take goes
// to, whatever their order.
func TestPrecedence(t *testing.T) {
	hosts := func(h ...HostMatch) []HostMatch { return h }
	x := FieldMatch{"x", Exact, "1"}
	y := FieldMatch{"y", Exact, "1"}
	a := FieldMatch{"a", Exact, "1"}
	b := FieldMatch{"b", Exact, "1"}
	path := func(kind MatchKind, value string) PathMatch { return PathMatch{kind, value} }
	req := request("POST", "w.example.com", "/s/m?a=1&b=1", "x", "1", "y", "1")

	for name, order := range map[string][]Route{
		"host": {
			route("exact", hosts(HostMatch{Name: "w.example.com"})),
			route("long suffix", hosts(HostMatch{Suffix: true, Name: "example.com"}), Match{Path: path(Exact, "/s/m")}),
			route("short suffix", hosts(HostMatch{Suffix: true, Name: "com"}), Match{Path: path(Exact, "/s/m"), Method: "POST"}),
			route("any", nil, Match{Path: path(Exact, "/s/m"), Method: "POST", Headers: []FieldMatch{x}}),
		},
		"best of several hosts": {
			route("exact", hosts(HostMatch{Suffix: true, Name: "com"}, HostMatch{Name: "w.example.com"})),
			route("suffix", hosts(HostMatch{Suffix: true, Name: "example.com"})),
		},
		"path": {
			route("exact", nil, Match{Path: path(Exact, "/s/m")}),
			route("long prefix", nil, Match{Path: path(Prefix, "/s/m"), Method: "POST"}),
			route("short prefix", nil, Match{Path: path(Prefix, "/s/"), Method: "POST", Headers: []FieldMatch{x}}),
			route("regex", nil, Match{Path: path(Regex, "/[a-z]/[a-z]"), Method: "POST", Headers: []FieldMatch{x, y}}),
			route("root", nil, Match{Path: path(Prefix, "/"), Method: "POST", Headers: []FieldMatch{x, y}}),
		},
		"the rest": {
			route("method", nil, Match{Method: "POST"}),
			route("two headers", nil, Match{Headers: []FieldMatch{x, y}}),
			route("one header", nil, Match{Headers: []FieldMatch{x}, Query: []FieldMatch{a, b}}),
			route("two params", nil, Match{Query: []FieldMatch{a, b}}),
			route("one param", nil, Match{Query: []FieldMatch{a}}),
			route("nothing", nil),
		},
		"grpc": {
			route("service and method", nil, Match{RPC: RPCMatch{true, "s", "m"}}),
			route("service", nil, Match{RPC: RPCMatch{true, "s", ""}, Headers: []FieldMatch{x}}),
			route("method", nil, Match{RPC: RPCMatch{true, "", "m"}, Headers: []FieldMatch{x, y}}),
			route("headers", nil, Match{RPC: RPCMatch{On: true}, Headers: []FieldMatch{x}}),
			route("default", nil, Match{RPC: RPCMatch{On: true}}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := order[0].Meta.Name
			for i := range order { // each rotation, and each backwards
				rotated := append(append([]Route{}, order[i:]...), order[:i]...)
				backwards := make([]Route, 0, len(order))
				for _, r := range rotated {
					backwards = append([]Route{r}, backwards...)
				}
				for _, routes := range [][]Route{rotated, backwards} {
					if got, _, err := routed(routes...).Route(req); got != want || err != nil {
						t.Errorf("got %q, %v, want %q", got, err, want)
					}
				}
			}
			if len(order) > 2 {
				for i := range order[1:] { // and among those that are left
					if got, _, _ := routed(order[i+1:]...).Route(req); got != order[i+1].Meta.Name {
						t.Errorf("got %q, want %q", got, order[i+1].Meta.Name)
					}
				}
			}
		})
	}
}

func TestEqualsGoByOrder(t *testing.T) {
	same := Match{Path: PathMatch{Exact, "/"}}
	if got, _, _ := routed(route("first", nil, same), route("second", nil, same)).Route(request("GET", "", "/")); got != "first" {
		t.Errorf("got %q, want the first", got)
	}
}

// A route without rules takes nothing, a route with a better host that does not
// match leaves the others a chance, and no route is an error that names the
// request, quoted.
func TestNoRoute(t *testing.T) {
	r := routed(Route{Meta: Default("empty")}, route("host", []HostMatch{{Name: "h"}}, Match{Method: "GET"}), route("method", nil, Match{Method: "POST"}))
	if got, _, err := r.Route(request("POST", "h", "/")); got != "method" {
		t.Errorf("got %q, %v", got, err)
	}
	_, m, err := r.Route(request("PUT", "h\n", "/\x1b[0m?secret="+strings.Repeat("x", 9)))
	if !errors.Is(err, ErrNoRoute) || m.Route != nil || m.Rule != nil {
		t.Fatalf("got %v, %+v", err, m)
	}
	if want := `no route for "PUT" to host "h\n", path "/\x1b[0m"`; err.Error() != want {
		t.Errorf("got %s, want %s", err, want)
	}
	if _, _, err := r.Route(request("PUT", "h", "/"+strings.Repeat("x", 9999))); len(err.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	if _, _, err := NewRouter(func(*Route, *Rule) int { return 0 }).Route(request("GET", "", "/")); !errors.Is(err, ErrNoRoute) {
		t.Errorf("before the first Update: %v", err)
	}
}

func TestMatched(t *testing.T) {
	for prefix, want := range map[string]int{"/": 1, "/foo": 4, "/foo/": 4} {
		routes := []Route{route("r", nil, Match{Path: PathMatch{Prefix, prefix}})}
		r := routed(routes...)
		_, m, err := r.Route(request("GET", "", "/foo/bar"))
		if err != nil || m.Prefix != want || m.Route != &routes[0] || m.Rule != &routes[0].Rules[0] {
			t.Errorf("%s: %+v, %v, want prefix %d", prefix, m, err, want)
		}
	}
	if _, m, _ := routed(route("r", nil)).Route(request("GET", "", "/")); m.Prefix != -1 {
		t.Errorf("prefix %d without one", m.Prefix)
	}
}

func TestRouteName(t *testing.T) {
	r := routed(
		route("any", nil),
		route("suffix", []HostMatch{{Suffix: true, Name: "example.com"}}),
		route("exact", []HostMatch{{Name: "db.example.com"}}),
	)
	for sni, want := range map[string]string{"DB.example.com": "exact", "x.example.com": "suffix", "other": "any", "": "any"} {
		if got, _, err := r.RouteName(sni); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", sni, got, err, want)
		}
	}
	if _, _, err := routed(route("exact", []HostMatch{{Name: "a"}})).RouteName("b\n"); !errors.Is(err, ErrNoRoute) || !strings.Contains(err.Error(), `"b\n"`) {
		t.Errorf("got %v", err)
	}
}

func TestRouterString(t *testing.T) {
	r := routed(route("a", nil), route("b", []HostMatch{{Name: "h"}}, Match{Path: PathMatch{Exact, "/x"}, Method: "GET"}))
	want := "default.b: host h, path exact \"/x\", method GET\ndefault.a: host *, any request\n"
	if got := r.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Tables are swapped whole: no request sees a mixture, or none.
func TestUpdateWhileRouting(t *testing.T) {
	r := NewRouter(func(r *Route, rule *Rule) [2]string { return [2]string{r.Meta.Name, rule.Matches[0].Path.Value} })
	table := func(name string) []Route {
		return []Route{{Meta: Default(name), Rules: []Rule{{Matches: []Match{{Path: PathMatch{Prefix, "/" + name}}, {}}}}}}
	}
	r.Update(table("a"))
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			req := request("GET", "h", "/a/x")
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, m, err := r.Route(req)
				if err != nil || s[1] != "/"+s[0] || m.Route.Meta.Name != s[0] {
					t.Errorf("got %v, %+v, %v", s, m, err)
					return
				}
			}
		})
	}
	for i := range 500 {
		r.Update(table(string(rune('a' + i%26))))
	}
	close(stop)
	readers.Wait()
}

func catchAll() *Router[string] {
	return routed(route("default", nil, Match{Path: PathMatch{Prefix, "/"}}))
}

func typical() *Router[string] {
	return routed(
		route("canary", []HostMatch{{Suffix: true, Name: "svc.cluster.local"}}, Match{Path: PathMatch{Prefix, "/"}, Headers: []FieldMatch{{"x-canary", Exact, "yes"}}}),
		route("api", nil, Match{Path: PathMatch{Prefix, "/api/v1"}}, Match{Path: PathMatch{Exact, "/health"}, Method: "GET"}),
		route("search", nil, Match{Query: []FieldMatch{{"q", Regex, "[a-z]+"}}}),
		route("default", nil),
	)
}

func typicalRequest() *stack.Request {
	return request("GET", "web.emoji.svc.cluster.local:80", "/list/items?page=2&q=1",
		"user-agent", "curl/8", "accept", "*/*", "x-request-id", "1", "x-canary", "yes")
}

// To choose a route allocates nothing.
func TestRouteAllocations(t *testing.T) {
	for name, r := range map[string]*Router[string]{"catch-all": catchAll(), "typical": typical()} {
		req := typicalRequest()
		if n := testing.AllocsPerRun(100, func() {
			if _, _, err := r.Route(req); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	for name, r := range map[string]*Router[string]{"catch-all": catchAll(), "typical": typical()} {
		b.Run(name, func(b *testing.B) {
			req := typicalRequest()
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Route(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
