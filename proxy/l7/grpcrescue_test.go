package l7_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// breaking is a body of one chunk, which then fails.
type breaking struct {
	stack.Body
	err    error
	read   bool
	closed error
}

func (b *breaking) Next(context.Context) ([]byte, error) {
	if b.read {
		return nil, b.err
	}
	b.read = true
	return []byte("chunk"), nil
}
func (b *breaking) AtHand() bool        { return !b.read }
func (b *breaking) Size() (int64, bool) { return 0, false }
func (b *breaking) Close(cause error) error {
	b.closed = cause
	return nil
}

func grpcRequest() *stack.Request {
	r := request()
	r.Version, r.Method = stack.HTTP2, "POST"
	r.Header.Add("content-type", "application/grpc+proto")
	return r
}

// saysWhy writes trailers as the proxy's own errors do.
func saysWhy(_ *stack.Request, err error, h *stack.Header) {
	h.Add("grpc-status", "14")
	h.Add("grpc-message", err.Error())
}

// content reads b to its end, or its failure.
func content(ctx context.Context, b stack.Body) (string, error) {
	var all strings.Builder
	for {
		chunk, err := b.Next(ctx)
		all.Write(chunk)
		if err != nil {
			return all.String(), err
		}
	}
}

func TestRescueGRPC(t *testing.T) {
	reset := fmt.Errorf("server: %w", &stack.ResetError{Code: stack.EnhanceYourCalm})
	left := errors.New("left")
	plain, http1 := grpcRequest(), grpcRequest()
	plain.Header.Set("content-type", "text/plain")
	http1.Version = stack.HTTP11
	for name, tt := range map[string]struct {
		r       *stack.Request
		ctx     error // why the exchange has ended, if it has
		fails   error
		want    error
		trailer string
	}{
		"broken":                 {grpcRequest(), nil, errDown, io.EOF, "14 down"},
		"ended":                  {grpcRequest(), nil, io.EOF, io.EOF, "0 "},
		"reset by the server":    {grpcRequest(), nil, reset, reset, "0 "},
		"the client has left":    {grpcRequest(), left, left, left, "0 "},
		"not gRPC":               {plain, nil, errDown, errDown, "0 "},
		"not a stream of HTTP/2": {http1, nil, errDown, errDown, "0 "},
	} {
		t.Run(name, func(t *testing.T) {
			b := &breaking{Body: stack.Empty(), err: tt.fails}
			b.Trailer().Add("grpc-status", "0")
			x := &stack.Exchange{}
			var seen error
			resp, err := l7.RescueGRPC(saysWhy)(func(context.Context, *stack.Request) (*stack.Response, error) {
				resp := &stack.Response{Status: 200, Body: b}
				resp.Observe(stack.OnEnd(func(err error) { seen = err }))
				return resp, nil
			})(x, tt.r)
			if err != nil {
				t.Fatal(err)
			}
			if tt.ctx != nil {
				x.End(tt.ctx)
			}
			got, err := content(x, resp.Body)
			if got != "chunk" || !errors.Is(err, tt.want) {
				t.Errorf("%q, %v; want the chunk, then %v", got, err, tt.want)
			}
			if h := resp.Body.Trailer(); h.Get("grpc-status")+" "+h.Get("grpc-message") != tt.trailer {
				t.Errorf("trailer %v; want %s", h, tt.trailer)
			}
			if tt.trailer == "14 down" && (!errors.Is(seen, errDown) || !resp.Body.AtHand()) {
				t.Errorf("who counts below saw %v; AtHand %v", seen, resp.Body.AtHand())
			}
			if _ = resp.Body.Close(errDown); !errors.Is(b.closed, errDown) {
				t.Error("the body below was not closed")
			}
		})
	}
}

// TestRescueGRPCLeavesAlone sees what is not wrapped at all, and costs nothing.
func TestRescueGRPCLeavesAlone(t *testing.T) {
	whole := stack.Bytes([]byte("hello")) // of a length that its head tells
	svc := l7.RescueGRPC(saysWhy)(func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Status: 200, Body: whole}, nil
	})
	if resp, err := svc(t.Context(), grpcRequest()); err != nil || resp.Body != whole {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := l7.RescueGRPC(saysWhy)(l7.Fail(errDown))(t.Context(), grpcRequest()); !errors.Is(err, errDown) {
		t.Error(err)
	}
}

// TestRescueGRPCCosts holds it to one small allocation, and none for what is not gRPC.
func TestRescueGRPCCosts(t *testing.T) {
	resp := &stack.Response{Status: 200}
	b := &breaking{Body: stack.Empty(), err: io.EOF}
	svc := l7.RescueGRPC(saysWhy)(func(context.Context, *stack.Request) (*stack.Response, error) {
		resp.Body = b
		return resp, nil
	})
	for r, want := range map[*stack.Request]float64{grpcRequest(): 1, request(): 0} {
		if got := testing.AllocsPerRun(100, func() { _, _ = svc(t.Context(), r) }); got != want {
			t.Errorf("%s: %v allocations, want %v", r.Version, got, want)
		}
	}
}
