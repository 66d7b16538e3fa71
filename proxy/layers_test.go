package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// requestLayers are what every request meets, inbound and outbound, above next.
func requestLayers(next stack.Service) (inward, outward stack.Service) {
	p := &Proxy{Log: slog.New(slog.DiscardHandler), Metrics: telemetry.New(telemetry.Options{RetainIdle: time.Minute})}
	to := netip.MustParseAddrPort("192.0.2.1:80")
	in := &inbound{Proxy: p, shed: l7.NewInFlight(1).Shed}
	out := &outbound{Proxy: p, shed: l7.NewInFlight(1).Shed}
	return in.request(policy.AllUnauthenticated(policy.Detect), portKey{addr: to}, telemetry.Labels{}, next),
		out.request(profiles.Target{Addr: to}, &profiles.Profile{}, next)
}

// broken is a body that fails at once.
type broken struct{ stack.Body }

func (broken) Next(context.Context) ([]byte, error) {
	return nil, fmt.Errorf("read: %w", syscall.ECONNRESET)
}
func (broken) Size() (int64, bool) { return 0, false }

// TestGRPCThatBreaksOff goes through both stacks twice each: what is shed must be
// free again, although nobody above the trailers learned of the failure.
func TestGRPCThatBreaksOff(t *testing.T) {
	inward, outward := requestLayers(func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Version: stack.HTTP2, Status: 200, Body: broken{stack.Empty()}}, nil
	})
	for name, svc := range map[string]stack.Service{"inbound": inward, "outbound": outward} {
		for range 2 {
			r, _ := asked(stack.HTTP2, true)
			resp, err := svc(t.Context(), r)
			if err != nil || resp.Status != 200 || resp.Header.Has("grpc-status") {
				t.Fatalf("%s: %+v, %v", name, resp, err)
			}
			if _, err = resp.Body.Next(t.Context()); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
				t.Errorf("%s: the body ended with %v", name, err)
			}
			h := resp.Body.Trailer()
			if h.Get("grpc-status") != "14" || h.Has("grpc-message") != (name == "outbound") {
				t.Errorf("%s: %v; only the workload's own side is told why", name, h)
			}
			_ = resp.Body.Close(nil)
		}
	}
}

// TestCarriedRequestsAreOfHTTP1 sends what a peer carries to an application that is
// there, and one that is not.
func TestCarriedRequestsAreOfHTTP1(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
		says   string // l5d-orig-proto of the response
	}{
		"an answer":  {nil, 204, "HTTP/1.0"},
		"no answer":  {syscall.ECONNREFUSED, 502, ""},
		"odd resets": {reset(stack.Cancel), 502, ""}, // which nothing of HTTP/1 can have sent
	} {
		inward, _ := requestLayers(func(_ context.Context, r *stack.Request) (*stack.Response, error) {
			if r.Version != stack.HTTP11 || r.Authority != "app.test" || r.Header.Has("l5d-orig-proto") || r.Header.Get("host") != "app.test" {
				t.Errorf("%s: got %+v", name, r)
			}
			return &stack.Response{Version: stack.HTTP10, Status: 204, Body: stack.Empty()}, tt.err
		})
		r, closed := asked(stack.HTTP2, true) // as grpc-web's content type begins, whose clients read HTTP/1
		r.Authority = "app.test"
		r.Header.Add("host", "app.test")
		r.Header.Add("l5d-orig-proto", "HTTP/1.1")
		resp, err := inward(t.Context(), r)
		if err != nil || resp.Status != tt.status || resp.Header.Get("l5d-orig-proto") != tt.says || resp.Header.Has("connection") || resp.Header.Has("grpc-status") {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
		if *closed != (tt.err != nil) {
			t.Errorf("%s: the peer was told to leave: %v", name, *closed)
		}
	}
}
