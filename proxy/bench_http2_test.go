package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// serveHTTP2 answers requests of HTTP/2 with svc, and returns where. What it
// allocates is the codec's own, which is little.
func serveHTTP2(tb testing.TB, svc stack.Service) string {
	tb.Helper()
	return serveHTTP2At(tb, "127.0.0.1:0", svc)
}

func serveHTTP2At(tb testing.TB, addr string, svc stack.Service) string {
	tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c, err := l4.NewConn(nc.(*net.TCPConn))
			if err != nil {
				return
			}
			conns.Go(func() { _ = h2.Serve(ctx, &stack.Conn{Conn: c}, svc, benchHTTP2()) })
		}
	})
	tb.Cleanup(func() { _ = l.Close(); end(); conns.Wait() })
	return l.Addr().String()
}

func benchHTTP2() h2.Params {
	return h2.Params{HeadBytes: 1 << 16, Fields: 200, MaxStreams: 1000, Scheduler: &h2.Scheduler{}}
}

// small answers every request with 128 bytes, and a trailer if it is gRPC's.
func small(content []byte) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		for err := error(nil); err == nil; {
			_, err = r.Body.Next(ctx)
		}
		resp := &stack.Response{Status: 200, Body: stack.Bytes(content)}
		resp.Header.Add("content-type", r.Header.Get("content-type"))
		if r.Header.Get("content-type") == "application/grpc" {
			resp.Body.Trailer().Add("grpc-status", "0")
		}
		return resp, nil
	}
}

// BenchmarkOutboundHTTP2 sends GETs through the whole outbound stack, as
// BenchmarkOutboundHTTP1 does. Its client and its server are of the same codec, and
// some of the allocations are theirs.
func BenchmarkOutboundHTTP2(b *testing.B) { benchHTTP2Pair(b, "text/plain", nil) }

// BenchmarkOutboundGRPC sends unary calls.
func BenchmarkOutboundGRPC(b *testing.B) {
	benchHTTP2Pair(b, "application/grpc", append([]byte{0, 0, 0, 0, 128}, make([]byte, 128)...))
}

func benchHTTP2Pair(b *testing.B, contentType string, content []byte) {
	b.Helper()
	at := serveHTTP2(b, small(bytes.Repeat([]byte("x"), 128)))
	c := startController(b, meshYAML(serviceYAML("web.demo.svc.cluster.local", false, at)))
	named := freeAddr(b)
	s := startSidecar(b, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+named+"=web.demo.svc.cluster.local:80")
	defer s.stop()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	pool := h2.NewPool(ctx, l4.Dial(l4.DialConfig{AllowLoopback: true}, netip.MustParseAddrPort(named)), benchHTTP2(), nil)
	var x stack.Exchange
	var r stack.Request
	roundTrip := func() {
		x.Begin()
		r.Reset()
		r.Version, r.Method, r.Scheme, r.Authority, r.Path = stack.HTTP2, "POST", "http", "web.demo.svc.cluster.local", "/s"
		r.Header.Add("content-type", contentType)
		r.Body = stack.Bytes(content)
		resp, err := pool.Do(&x, &r)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = resp.Body.Next(&x)
		}
		if !errors.Is(err, io.EOF) || resp.Status != 200 {
			b.Fatal(resp.Status, err)
		}
		_ = resp.Body.Close(nil)
		x.End(io.EOF)
	}
	for range 100 {
		roundTrip()
	}
	b.ReportAllocs()
	for b.Loop() {
		roundTrip()
	}
}
