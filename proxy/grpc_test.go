package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A grpcApp is a server of gRPC whose methods are by name what they do.
type grpcApp struct {
	addr  string
	calls atomic.Int32
}

func serveGRPC(tb testing.TB) *grpcApp {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	a := &grpcApp{addr: l.Addr().String()}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		a.calls.Add(1)
		method, _ := grpc.MethodFromServerStream(stream)
		return a.serve(method, stream)
	}))
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { s.Stop(); <-done })
	return a
}

func (a *grpcApp) serve(method string, stream grpc.ServerStream) error {
	switch method {
	case "/test/NotFound": // trailers alone
		return status.Error(codes.NotFound, "50% of nöthing")
	case "/test/Internal":
		return status.Error(codes.Internal, "no")
	case "/test/Early": // amid what the client sends
		_ = stream.RecvMsg(&wrapperspb.BytesValue{})
		return status.Error(codes.ResourceExhausted, "enough")
	}
	stream.SetTrailer(metadata.Pairs("x-trailer", "t"))
	for {
		var m wrapperspb.BytesValue
		if err := stream.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&m); err != nil {
			return err
		}
	}
}

func dialGRPC(tb testing.TB, addr string) *grpc.ClientConn {
	tb.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(webHost))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// call makes a unary call, with 100 bytes.
func call(ctx context.Context, c *grpc.ClientConn, method string, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	in, out := wrapperspb.Bytes(make([]byte, 100)), new(wrapperspb.BytesValue)
	err := c.Invoke(ctx, "/test/"+method, in, out, opts...)
	if err == nil && len(out.GetValue()) != 100 {
		return fmt.Errorf("%d bytes came back", len(out.GetValue()))
	}
	return err
}

// TestGRPC makes calls that succeed and fail, with an ordinary client and server.
func TestGRPC(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		app := serveGRPC(t)
		addr := start(t, app.addr).addr
		c := dialGRPC(t, addr)
		var trailer metadata.MD
		if err := call(t.Context(), c, "Echo", grpc.Trailer(&trailer)); err != nil || fmt.Sprint(trailer.Get("x-trailer")) != "[t]" {
			t.Errorf("%v, trailer %v", err, trailer)
		}
		if err := call(t.Context(), c, "NotFound"); status.Code(err) != codes.NotFound || status.Convert(err).Message() != "50% of nöthing" {
			t.Errorf("trailers alone: %v", err)
		}
		if err := streamed(t, c, "Early"); status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "enough" {
			t.Errorf("answered early: %v", err)
		}
		big := func(n int) context.Context {
			return metadata.AppendToOutgoingContext(t.Context(), "x-big", strings.Repeat("a", n))
		}
		if err := call(big(63<<10), c, "Echo"); err != nil {
			t.Errorf("just under 64 KiB: %v", err)
		}
		before := app.calls.Load() // grpc-go itself does not send what is over
		got := say(t, addr, append(heading(webHost), "content-type", "application/grpc", "x-big", strings.Repeat("a", 65<<10))...)
		if got.get(":status") != "431" || app.calls.Load() != before {
			t.Errorf("over 64 KiB: %+v, and %d calls", got, app.calls.Load()-before)
		}
		if err := call(t.Context(), c, "Echo"); err != nil {
			t.Errorf("after all that: %v", err)
		}
	})
}

// streamed sends until the server has had enough.
func streamed(t *testing.T, c *grpc.ClientConn, method string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/test/"+method)
	if err != nil {
		return err
	}
	for err == nil {
		err = s.SendMsg(wrapperspb.Bytes(make([]byte, 16<<10)))
	}
	return s.RecvMsg(new(wrapperspb.BytesValue))
}

// TestGRPCServerDown has nobody behind the inbound side, and then nobody where the
// inbound side should be: what has failed stands in grpc-status.
func TestGRPCServerDown(t *testing.T) {
	grpcFields := append(heading(webHost), "content-type", "application/grpc", "te", "trailers")
	check := func(what, addr, code string, cause bool) {
		t.Helper()
		got := say(t, addr, grpcFields...)
		if got.get(":status") != "200" || got.get("grpc-status") != code || got.get("content-type") != "application/grpc" || (got.get("grpc-message") != "") != cause {
			t.Errorf("%s: %+v; want grpc-status %s", what, got, code)
		}
	}
	p := startPair(t, freeAddr(t), false, "LINKERD2_PROXY_INBOUND_HTTP_FAILFAST_TIMEOUT=100ms")
	check("the application, at first", p.addr, "4", false)
	check("the application, later", p.addr, "14", false)
	c := startController(t, meshYAML(serviceYAML(webHost, false, freeAddr(t))))
	check("its sidecar", startNamed(t, c.addr), "14", true)
}

// TestEarlyAnswer2: a request of HTTP/2 is answered before its content has come, and
// the answer is whole.
func TestEarlyAnswer2(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		app := serveHTTP2(t, func(context.Context, *stack.Request) (*stack.Response, error) {
			return &stack.Response{Status: 413, Body: stack.Bytes(make([]byte, 100_000))}, nil
		})
		endless, end := io.Pipe()
		defer end.Close()
		go func() {
			for err := error(nil); err == nil; {
				_, err = end.Write(make([]byte, 4096))
			}
		}()
		got, err := ask2(t, client2(t, start(t, app).addr), http.MethodPost, "/", endless)
		if err != nil || got.err != nil || got.status != 413 || len(got.body) != 100_000 {
			t.Errorf("%d with %d bytes, %v, %v", got.status, len(got.body), err, got.err)
		}
	})
}

// TestGRPCIsCounted looks at both sidecars' metrics after calls through them. How they
// ended stands in their trailers.
func TestGRPCIsCounted(t *testing.T) {
	app := serveGRPC(t)
	p := startPair(t, app.addr, false)
	c := dialGRPC(t, p.addr)
	calls := []struct {
		method, code, class string
		n                   int
	}{{"Echo", "0", "success", 3}, {"NotFound", "5", "success", 2}, {"Internal", "13", "failure", 1}}
	for _, tt := range calls {
		for range tt.n {
			_ = call(t.Context(), c, tt.method)
		}
	}
	out, in := countedAt(p.in, app.addr)
	for _, side := range []struct {
		*sidecar

		labels string
	}{{p.outbound, out}, {p.inbound, in}} {
		lines := []string{fmt.Sprintf(`request_total{%s} 6`, side.labels), fmt.Sprintf(`response_latency_ms_count{%s,status_code="200"} 6`, side.labels)}
		for _, tt := range calls {
			lines = append(lines, fmt.Sprintf(`response_total{%s,status_code="200",classification=%q,grpc_status=%q,error=""} %d`, side.labels, tt.class, tt.code, tt.n))
		}
		side.eventually(t, lines...)
	}
}

// countedAt are the labels of requests that go to an inbound side, and from there to an
// application.
func countedAt(side, app string) (out, in string) {
	_, port, _ := net.SplitHostPort(side)
	out = fmt.Sprintf(`direction="outbound",authority="%s",target_addr="%s",target_ip="127.0.0.1",target_port="%s",`+
		`tls="no_identity",no_tls_reason="not_provided_by_service_discovery",dst_namespace="demo",dst_service="web"`, webHost, side, port)
	_, port, _ = net.SplitHostPort(app)
	in = fmt.Sprintf(`direction="inbound",target_addr="%s",target_ip="127.0.0.1",target_port="%s",tls="no_identity",no_tls_reason="no_tls_from_remote",`+
		`srv_group="",srv_kind="default",srv_name="all-unauthenticated",srv_port="%s",route_group="",route_kind="default",route_name="default",`+
		`authz_group="",authz_kind="default",authz_name="all-unauthenticated"`, app, port, port)
	return out, in
}

// TestCarriedIsCounted: what is carried over HTTP/2 is counted as what it is.
func TestCarriedIsCounted(t *testing.T) {
	app := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("grpc-status", "13") // which means nothing in HTTP/1
		w.WriteHeader(http.StatusInternalServerError)
	})
	p := startCarrying(t, app)
	send(t, p.addr, asking)
	out, in := countedAt(p.in, app)
	for s, labels := range map[*sidecar]string{p.outbound: out, p.inbound: in} {
		s.eventually(t, fmt.Sprintf(`request_total{%s} 1`, labels),
			fmt.Sprintf(`response_total{%s,status_code="500",classification="failure",grpc_status="",error=""} 1`, labels))
	}
}
