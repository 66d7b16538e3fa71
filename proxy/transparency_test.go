package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// The tests of this file bear the names of those in linkerd2-proxy's
// transparency.rs, orig_proto.rs and shutdown.rs. Those of HTTP/1 are rows of
// TestPairTransparency.

// client2 is a client of HTTP/2, with one connection of its own to addr.
func client2(tb testing.TB, addr string) *http.Client {
	tb.Helper()
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// ask2 has c make a request, with fields in turn, and returns what came of it.
func ask2(tb testing.TB, c *http.Client, method, path string, body io.Reader, fields ...string) (reply, error) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), method, "http://"+webHost+path, body)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	for name, values := range resp.Trailer {
		resp.Header["Trailer-"+name] = values
	}
	return reply{resp.StatusCode, resp.Header, string(content), resp.Close, err}, nil
}

// found answers with nothing.
func found(context.Context, *stack.Request) (*stack.Response, error) {
	return &stack.Response{Status: 200, Body: stack.Empty()}, nil
}

// TestTransparency_retry_reconnect_errors: a request of HTTP/2 waits for an application
// that listens a moment later.
func TestTransparency_retry_reconnect_errors(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		app := freeAddr(t)
		p := start(t, app)
		c := client2(t, p.addr)
		over := make(chan string)
		go func() {
			got, err := ask2(t, c, "GET", "/", nil)
			over <- fmt.Sprint(got.status, err)
		}()
		elapse(t, 100*time.Millisecond)
		serveHTTP2At(t, app, found)
		if got := <-over; got != "200 <nil>" {
			t.Error(got)
		}
	})
}

// TestAppDown2 is what becomes of requests of HTTP/2, and of calls of gRPC, whose
// application stays away, and then comes.
func TestAppDown2(t *testing.T) {
	for _, grpc := range []bool{false, true} {
		app := freeAddr(t)
		addr, s := startInbound(t, app, "LINKERD2_PROXY_INBOUND_HTTP_FAILFAST_TIMEOUT=300ms", 
			"LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MIN=100ms", "LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MAX=100ms")
		var fields []string
		if grpc {
			fields = []string{"content-type", "application/grpc"}
		}
		check := func(status int, code string, least, most time.Duration) {
			t.Helper()
			began := time.Now()
			got, err := ask2(t, client2(t, addr), "POST", "/", nil, fields...)
			if grpc {
				status = 200
			} else {
				code = ""
			}
			if took := time.Since(began); err != nil || got.status != status || got.header.Get("grpc-status") != code || took < least || took > most {
				t.Errorf("gRPC %t: %+v, %v after %v; want %d %s", grpc, got, err, took, status, code)
			}
			for _, field := range []string{"l5d-proxy-error", "l5d-proxy-connection", "grpc-message", "connection"} {
				if got.header[http.CanonicalHeaderKey(field)] != nil {
					t.Errorf("the client was told %s", field)
				}
			}
		}
		check(504, "4", 300*time.Millisecond, patience)
		check(503, "14", 0, 200*time.Millisecond)
		if n := sumOf(s.metrics(), "inbound_http_errors_total", `error="failfast"`); n != 2 {
			t.Errorf("%d failures by fail-fast were counted, want 2", n)
		}
		serveHTTP2At(t, app, func(context.Context, *stack.Request) (*stack.Response, error) {
			resp := &stack.Response{Status: 200, Body: stack.Empty()}
			resp.Header.Add("grpc-status", "0")
			return resp, nil
		})
		for deadline := time.Now().Add(patience); ; {
			got, err := ask2(t, client2(t, addr), "POST", "/", nil, fields...)
			if err == nil && got.status == 200 && got.header.Get("grpc-status") == "0" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("gRPC %t: %+v, %v though the application is there", grpc, got, err)
			}
		}
	}
}
