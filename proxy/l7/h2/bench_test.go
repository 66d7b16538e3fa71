package h2_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// BenchmarkRelay sends requests through a Pool, a server and another Pool to a
// server that answers 128 bytes: two of each, so that a proxy's share of the
// allocations is half of what is shown.
func BenchmarkRelay(b *testing.B) {
	content := make([]byte, 128)
	at := serve(b, func(context.Context, *stack.Request) (*stack.Response, error) {
		resp := &stack.Response{Status: 200, Body: stack.Bytes(content)}
		resp.Header.Add("content-type", "text/plain")
		return resp, nil
	}, params())
	front := pool(b, serve(b, pool(b, at, params()).Do, params()), params())
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		var r stack.Request
		for pb.Next() {
			get(b, front, &r)
		}
	})
}

func get(b *testing.B, p *h2.Pool, r *stack.Request) {
	b.Helper()
	r.Reset()
	r.Version, r.Method, r.Scheme, r.Authority, r.Path, r.Body = stack.HTTP2, "GET", "http", "app.test", "/s", stack.Empty()
	r.Header.Add("user-agent", "bench")
	resp, err := p.Do(context.Background(), r)
	if err != nil {
		b.Error(err)
		return
	}
	for err == nil {
		_, err = resp.Body.Next(context.Background())
	}
	if !errors.Is(err, io.EOF) {
		b.Error(err)
	}
	resp.Body.Close(nil)
}
