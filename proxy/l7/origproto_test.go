package l7_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// asking returns a request of HTTP/1 as its codec would make it.
func asking(v stack.Version, f stack.Form, authority, path string, fields ...string) *stack.Request {
	r := &stack.Request{Version: v, Method: "GET", Scheme: "http", Authority: authority, Path: path, Form: f, Body: stack.Empty(), Conn: &stack.Conn{}}
	addAll(&r.Header, fields)
	return r
}

func addAll(h *stack.Header, fields []string) {
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
}

// flat returns h's fields in order, each as "name: value".
func flat(h *stack.Header) []string {
	all := []string{}
	for name, value := range h.All() {
		all = append(all, name+": "+value)
	}
	return all
}

// overHTTP2 carries messages as HTTP/2 would: what it has no word for is lost.
func overHTTP2(t *testing.T, server stack.Service) stack.Service {
	t.Helper()
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		checkCarried(t, r.Path, &r.Header)
		on := &stack.Request{
			Version: stack.HTTP2, Method: r.Method, Scheme: r.Scheme, Authority: r.Authority, Path: r.Path,
			Header: r.Header.Clone(), Body: r.Body, Conn: &stack.Conn{},
		}
		resp, err := server(ctx, on)
		if err != nil {
			return nil, err
		}
		checkCarried(t, "/", &resp.Header)
		return &stack.Response{Version: stack.HTTP2, Status: resp.Status, Header: resp.Header.Clone(), Body: resp.Body}, nil
	}
}

// checkCarried fails the test if a message could not be written in HTTP/2.
func checkCarried(t *testing.T, path string, h *stack.Header) {
	t.Helper()
	if path == "" || path[0] != '/' && path != "*" {
		t.Errorf("HTTP/2 has no path %q", path)
	}
	for _, name := range []string{"transfer-encoding", "connection", "upgrade"} {
		if h.Has(name) {
			t.Errorf("HTTP/2 has no field %s", name)
		}
	}
}

// TestCarryKeepsWhatHTTP1Says takes requests over the mesh and back.
func TestCarryKeepsWhatHTTP1Says(t *testing.T) {
	const host = "app.test"
	for name, r := range map[string]*stack.Request{
		"1.1":                              asking(stack.HTTP11, stack.OriginForm, host, "/a?b=%2f", "host", host),
		"1.0 with host":                    asking(stack.HTTP10, stack.OriginForm, host, "/", "host", host),
		"1.0 without host":                 asking(stack.HTTP10, stack.OriginForm, "", "/"),
		"an empty host":                    asking(stack.HTTP11, stack.OriginForm, "", "/", "host", ""),
		"absolute form":                    asking(stack.HTTP11, stack.AbsoluteForm, host, "/a", "host", host),
		"absolute form, another host":      asking(stack.HTTP11, stack.AbsoluteForm, "uri.test:81", "/a", "host", host),
		"absolute form in 1.0":             asking(stack.HTTP10, stack.AbsoluteForm, "uri.test", "/a"),
		"asterisk form":                    asking(stack.HTTP11, stack.AsteriskForm, host, "*", "host", host),
		"absolute form of all there is":    asking(stack.HTTP11, stack.AbsoluteForm, host, "", "host", host),
		"expect":                           asking(stack.HTTP11, stack.OriginForm, host, "/", "host", host, "expect", "100-continue"),
		"a length of nothing":              asking(stack.HTTP11, stack.OriginForm, host, "/", "host", host, "content-length", "0"),
		"the client's own l5d-orig-proto":  asking(stack.HTTP11, stack.OriginForm, host, "/", "host", host, "l5d-orig-proto", "HTTP/1.0; absolute-form"),
		"and two of them":                  asking(stack.HTTP11, stack.OriginForm, host, "/", "l5d-orig-proto", "x", "host", host, "l5d-orig-proto", "HTTP/1.0"),
		"a field that only HTTP/1.1 knows": asking(stack.HTTP11, stack.OriginForm, host, "/", "host", host, "transfer-encoding", "chunked"),
	} {
		t.Run(name, func(t *testing.T) {
			if r.Form == stack.AsteriskForm || r.Path == "" {
				r.Method = "OPTIONS"
			}
			want := r.Clone()
			want.Header.Del("l5d-orig-proto") // the mesh's, and leaked to nobody
			want.Header.Del("transfer-encoding")
			if r.Authority == "" {
				r.Authority = "default.test" // as NormalizeURI gives it
				want.Authority = r.Authority
			}
			checkCrossing(t, r, want)
		})
	}
}

// checkCrossing sends r over the mesh, and compares what arrives with want.
func checkCrossing(t *testing.T, r, want *stack.Request) {
	t.Helper()
	app := func(_ context.Context, got *stack.Request) (*stack.Response, error) {
		if got.Version != want.Version || got.Form != want.Form || got.Method != want.Method || got.Authority != want.Authority || got.Path != want.Path {
			t.Errorf("got %s %s form %d %q %q; want %s %s form %d %q %q", got.Version, got.Method, got.Form, got.Authority, got.Path,
				want.Version, want.Method, want.Form, want.Authority, want.Path)
		}
		if a, b := flat(&got.Header), flat(&want.Header); !slices.Equal(a, b) {
			t.Errorf("got %q, want %q", a, b)
		}
		return &stack.Response{Version: got.Version, Status: 200, Body: stack.Empty()}, nil
	}
	version := r.Version
	resp, err := l7.Carry(unreachable(t), overHTTP2(t, l7.Carried(app)))(t.Context(), r)
	if err != nil || resp.Version != version || resp.Header.Has("l5d-orig-proto") || r.Version != version {
		t.Errorf("%+v, %v; want a response in %v, and the request as it was", resp, err, version)
	}
}

// TestCarryKeepsAllForms is the same for every pair of version and form, and many paths.
func TestCarryKeepsAllForms(t *testing.T) {
	for _, v := range []stack.Version{stack.HTTP10, stack.HTTP11} {
		for _, f := range []stack.Form{stack.OriginForm, stack.AbsoluteForm} {
			for _, host := range []string{"", "app.test", "app.test:80", "other.test", "[::1]:8080"} {
				for _, path := range []string{"/", "/*", "/?", "//x", "/a/../b?c#"} {
					r := asking(v, f, "app.test", path, "a", "1", "host", host, "cookie", "x=1")
					if f == stack.OriginForm && host != "" {
						r.Authority = host // as in HTTP/1
					}
					checkCrossing(t, r, r.Clone())
				}
			}
		}
	}
}

// TestCarryOfRootlessTargets: of "http://a" HTTP/2 can only say "http://a/", which
// means the same.
func TestCarryOfRootlessTargets(t *testing.T) {
	for path, want := range map[string]string{"": "/", "?x=1": "/?x=1"} {
		r := asking(stack.HTTP11, stack.AbsoluteForm, "app.test", path, "host", "app.test")
		r.Scheme = "HTTP"
		there := r.Clone()
		there.Path = want
		checkCrossing(t, r, there)
	}
}

func TestResponsesKeepTheirVersion(t *testing.T) {
	for name, tt := range map[string]struct {
		asked, answered stack.Version
		says, want      string // response fields, from and to
		version         stack.Version
	}{
		"as asked":              {stack.HTTP11, stack.HTTP11, "content-length: 0", "content-length: 0", stack.HTTP11},
		"older":                 {stack.HTTP11, stack.HTTP10, "a: 1", "a: 1", stack.HTTP10},
		"newer":                 {stack.HTTP10, stack.HTTP11, "a: 1", "a: 1", stack.HTTP11},
		"the proxy's own":       {stack.HTTP10, 0, "a: 1", "a: 1", stack.HTTP10},
		"chunks":                {stack.HTTP11, stack.HTTP11, "transfer-encoding: chunked", "", stack.HTTP11},
		"the application's own": {stack.HTTP11, stack.HTTP11, "l5d-orig-proto: HTTP/1.0", "", stack.HTTP11},
	} {
		app := func(context.Context, *stack.Request) (*stack.Response, error) {
			resp := &stack.Response{Version: tt.answered, Status: 200, Body: stack.Empty()}
			var field, value string
			_, _ = fmt.Sscanf(tt.says, "%s %s", &field, &value)
			resp.Header.Add(field[:len(field)-1], value)
			return resp, nil
		}
		r := asking(tt.asked, stack.OriginForm, "app.test", "/", "host", "app.test")
		resp, err := l7.Carry(unreachable(t), overHTTP2(t, l7.Carried(app)))(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if tt.want != "" {
			want = []string{tt.want}
		}
		if got := flat(&resp.Header); resp.Version != tt.version || resp.Reason != "OK" || !slices.Equal(got, want) {
			t.Errorf("%s: %v %s %q; want %v OK %q", name, resp.Version, resp.Reason, got, tt.version, want)
		}
	}
}

// answeredBy returns a service that says by its status which one it is.
func answeredBy(status int) stack.Service {
	return func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Status: status, Body: stack.Empty()}, nil
	}
}

func TestByVersionAndCarryChoose(t *testing.T) {
	http1, http2 := answeredBy(201), answeredBy(202)
	hinted := l7.ByVersion(l7.Carry(http1, http2), http2)
	tunnel := asking(stack.HTTP11, stack.AuthorityForm, "app.test:443", "")
	tunnel.Method = "CONNECT"
	for name, tt := range map[string]struct {
		svc    stack.Service
		r      *stack.Request
		status int
		says   string // l5d-orig-proto
	}{
		"HTTP/2":           {l7.ByVersion(http1, http2), asking(stack.HTTP2, 0, "a", "/", "l5d-orig-proto", "own"), 202, "own"},
		"HTTP/1":           {l7.ByVersion(http1, http2), asking(stack.HTTP11, 0, "a", "/", "l5d-orig-proto", "own"), 201, "own"},
		"HTTP/2, hinted":   {hinted, asking(stack.HTTP2, 0, "a", "/"), 202, ""},
		"HTTP/1.1, hinted": {hinted, asking(stack.HTTP11, 0, "a", "/"), 202, "HTTP/1.1"},
		"HTTP/1.0, hinted": {hinted, asking(stack.HTTP10, stack.AbsoluteForm, "a", "/"), 202, "HTTP/1.0; absolute-form"},
		"CONNECT, hinted":  {hinted, tunnel, 201, ""},
		"upgrade, hinted":  {hinted, asking(stack.HTTP11, 0, "a", "/", "upgrade", "websocket"), 201, ""},
	} {
		resp, err := tt.svc(t.Context(), tt.r)
		if err != nil || resp.Status != tt.status || tt.r.Header.Get("l5d-orig-proto") != tt.says {
			t.Errorf("%s: %+v, %v, %q; want %d, %q", name, resp, err, tt.r.Header.Get("l5d-orig-proto"), tt.status, tt.says)
		}
	}
}

// TestCarryFails has a peer that resets, and one that was not reached. What was to
// be carried may then go elsewhere.
func TestCarryFails(t *testing.T) {
	refused := fmt.Errorf("%w: %w", stack.ErrUnsent, &stack.ResetError{Code: stack.RefusedStream})
	for name, tt := range map[string]struct {
		err             error
		carried, unsent bool
		text            string
	}{
		"a reset":          {&stack.ResetError{Code: stack.Cancel}, true, false, "upgraded connection failed with HTTP/2 reset: CANCEL"},
		"a refused stream": {refused, true, true, "upgraded connection failed with HTTP/2 reset: REFUSED_STREAM"},
		"found here": {
			&stack.ResetError{Code: stack.ProtocolError, Cause: "two lengths"}, true, false,
			"upgraded connection failed with HTTP/2 reset: PROTOCOL_ERROR: two lengths",
		},
		"anything else": {errDown, false, false, "down"},
	} {
		for _, own := range [][]string{nil, {"l5d-orig-proto", "own"}} {
			r := asking(stack.HTTP11, stack.AbsoluteForm, "a", "", own...)
			_, err := l7.Carry(unreachable(t), l7.Fail(tt.err))(t.Context(), r)
			if errors.Is(err, l7.ErrCarried) != tt.carried || errors.Is(err, stack.ErrUnsent) != tt.unsent || !errors.Is(err, tt.err) || err.Error() != tt.text {
				t.Errorf("%s: %v", name, err)
			}
			if want := asking(0, 0, "", "", own...); r.Path != "" || !slices.Equal(flat(&r.Header), flat(&want.Header)) {
				t.Errorf("%s: %q, %v; want the request as it was", name, r.Path, r.Header)
			}
		}
	}
}

// TestCarriedOfOddRequests has what no peer of ours sends.
func TestCarriedOfOddRequests(t *testing.T) {
	type arrives struct {
		version   stack.Version
		form      stack.Form
		authority string
		fields    []string
	}
	connect := asking(stack.HTTP2, stack.OriginForm, "a", "", "host", "b", "l5d-orig-proto", "HTTP/1.1")
	connect.Method = "CONNECT"
	odd := func(authority, value string) *stack.Request {
		return asking(stack.HTTP2, stack.OriginForm, authority, "/", "host", "b", "l5d-orig-proto", value)
	}
	hostB := []string{"host: b"}
	for name, tt := range map[string]struct {
		r    *stack.Request
		want arrives
	}{
		"another version":                   {odd("a", "HTTP/3"), arrives{stack.HTTP2, 0, "a", []string{}}},
		"nothing":                           {odd("a", ""), arrives{stack.HTTP2, 0, "a", []string{}}},
		"a tunnel":                          {connect, arrives{stack.HTTP2, 0, "a", []string{}}},
		"who decides goes by the host":      {odd("a", "HTTP/1.1"), arrives{stack.HTTP11, 0, "b", hostB}},
		"absolute form, written otherwise":  {odd("a", "HTTP/1.1 ;absolute-form and more"), arrives{stack.HTTP11, stack.AbsoluteForm, "a", hostB}},
		"absolute form too early":           {odd("a", "HTTP/1.1;absolute-form"), arrives{stack.HTTP11, 0, "b", hostB}},
		"absolute form of no authority":     {odd("", "HTTP/1.1; absolute-form"), arrives{stack.HTTP11, 0, "b", hostB}},
		"a later minor version":             {odd("a", "HTTP/1.10"), arrives{stack.HTTP11, 0, "b", hostB}},
		"HTTP/1's own, which means nothing": {asking(stack.HTTP11, 0, "b", "/", "l5d-orig-proto", "HTTP/1.0"), arrives{stack.HTTP11, 0, "b", []string{"l5d-orig-proto: HTTP/1.0"}}},
		"HTTP/2's own":                      {asking(stack.HTTP2, 0, "b", "/", "a", "1"), arrives{stack.HTTP2, 0, "b", []string{"a: 1"}}},
	} {
		resp, err := l7.Carried(func(_ context.Context, r *stack.Request) (*stack.Response, error) {
			got := arrives{r.Version, r.Form, r.Authority, flat(&r.Header)}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%s: %+v, want %+v", name, got, tt.want)
			}
			return &stack.Response{Version: stack.HTTP2, Status: 200, Body: stack.Empty()}, nil
		})(t.Context(), tt.r)
		if err != nil || resp.Version != stack.HTTP2 || resp.Header.Len() != 0 {
			t.Errorf("%s: %+v, %v; want an HTTP/2 response left alone", name, resp, err)
		}
	}
	if _, err := l7.Carried(l7.Fail(errDown))(t.Context(), odd("a", "HTTP/1.1")); !errors.Is(err, errDown) {
		t.Error(err)
	}
}

// FuzzCarried gives Carried any field and target that HTTP/2 can bring. What comes
// out can be written in HTTP/1, says one thing of its host, and leaks nothing.
func FuzzCarried(f *testing.F) {
	f.Add("HTTP/1.1; absolute-form", "GET", "app.test", "/", "app.test")
	f.Add("HTTP/1.0", "OPTIONS", "", "*", "")
	f.Add("HTTP/2.0", "CONNECT", "app.test:443", "", "other.test")
	f.Fuzz(func(t *testing.T, origin, method, authority, path, host string) {
		r := asking(stack.HTTP2, stack.OriginForm, authority, path, "host", host, "l5d-orig-proto", origin)
		r.Method = method
		_, _ = l7.Carried(hello)(t.Context(), r)
		switch {
		case r.Header.Has("l5d-orig-proto"):
			t.Error("the field leaks")
		case r.Version == stack.HTTP2 && (r.Header.Has("host") || r.Authority != authority):
			t.Errorf("HTTP/2 with a second opinion: %v", r.Header)
		case r.Version != stack.HTTP2 && r.WantsTunnel():
			t.Error("a stream becomes no tunnel")
		case r.Version != stack.HTTP2 && r.Form != stack.AbsoluteForm && host != "" && r.Authority != host:
			t.Errorf("judged by %q, and sent with %q", r.Authority, host)
		case r.Form == stack.AbsoluteForm && r.Authority == "":
			t.Error("absolute form of nothing")
		}
	})
}
