package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h1"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func reset(code stack.ErrCode) error {
	return fmt.Errorf("endpoint: %w", &stack.ResetError{Code: code})
}

// TestAnswersOfGRPC has each error twice: a gRPC client is answered 200, and what
// has failed in grpc-status.
func TestAnswersOfGRPC(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		grpc   string
		close  bool
	}{
		{balance.ErrFailFast, 504, "4", true},
		{balance.ErrUnavailable, 503, "14", true},
		{fmt.Errorf("%w: %w", h2.ErrFailFast, syscall.ECONNREFUSED), 504, "4", true},
		{fmt.Errorf("%w: %w", h2.ErrUnavailable, l4.ErrConnectTimeout), 503, "14", true},
		{fmt.Errorf("%w: %w", h2.ErrQueueFull, l4.ErrConnectTimeout), 503, "14", true},
		{l7.ErrShed, 503, "14", true},
		{l7.ErrIdentity, 502, "14", true},
		{profiles.ErrNoRoute, 404, "5", false},
		{policy.ErrDenied, 403, "7", false},
		{l4.ErrConnectTimeout, 504, "4", true},
		{context.DeadlineExceeded, 504, "4", false},
		{syscall.ECONNREFUSED, 502, "14", true},
		{stack.ErrUnsent, 502, "14", true},
		{h2.ErrNoAnswer, 502, "14", true},
		{h2.ErrTruncated, 502, "14", true},
		{h2.ErrGoAway, 502, "14", true},
		{h2.ErrKeepAlive, 502, "14", true},
		{&codec.ResponseError{}, 502, "14", true},
		{errors.New("in no row"), 500, "13", true},
		{&l7.Injected{Status: 418, GRPC: 9}, 418, "9", false},
		{&l7.Injected{Status: 200, GRPC: 7}, 200, "7", false},
	} {
		for _, cause := range []bool{false, true} {
			checkAnswer(t, tt.err, cause, false, fmt.Sprint(tt.status), tt.close)
			checkAnswer(t, tt.err, cause, true, "200 "+tt.grpc, tt.close)
		}
	}
}

// checkAnswer compares the answer to err with want: its status, and in gRPC that
// of gRPC after it.
func checkAnswer(t *testing.T, err error, cause, grpc bool, want string, closes bool) {
	t.Helper()
	r, closed := asked(stack.HTTP2, grpc)
	resp := quiet().answer(cause)(r, fmt.Errorf("route a: %w", err))
	h := &resp.Header
	if got := strings.TrimSpace(fmt.Sprint(resp.Status, " ", h.Get("grpc-status"))); got != want {
		t.Errorf("%v: %s, want %s", err, got, want)
	}
	if *closed != closes || h.Has("connection") || h.Get("content-length") != "0" || grpc != (h.Get("content-type") == "application/grpc") {
		t.Errorf("%v: %v, the client was told to leave: %v", err, h, *closed)
	}
	if h.Has("l5d-proxy-error") != cause || h.Has("grpc-message") != (cause && grpc) || h.Has("l5d-proxy-connection") != (cause && closes) {
		t.Errorf("%v: %v; causes may be told: %v", err, h, cause)
	}
}

// quiet is a proxy that can answer, and says nothing.
func quiet() *Proxy { return &Proxy{Log: slog.New(slog.DiscardHandler)} }

// asked returns a request, and whether its client has been told to leave.
func asked(v stack.Version, grpc bool) (r *stack.Request, closed *bool) {
	closed = new(bool)
	c := &stack.Conn{Client: netip.MustParseAddrPort("192.0.2.2:5"), CloseClient: func() { *closed = true }}
	r = &stack.Request{Version: v, Method: "POST", Body: stack.Empty(), Conn: c}
	if grpc {
		r.Header.Add("content-type", "application/grpc")
	}
	return r, closed
}

// TestAnswersOfResets: a reset passes through to a client of HTTP/2, and no other
// can make anything of it.
func TestAnswersOfResets(t *testing.T) {
	for name, tt := range map[string]struct {
		version stack.Version
		err     error
		status  int // 0 if the error is passed on
	}{
		"HTTP/2":                            {stack.HTTP2, reset(stack.EnhanceYourCalm), 0},
		"HTTP/2, refused":                   {stack.HTTP2, fmt.Errorf("%w: %w", stack.ErrUnsent, reset(stack.RefusedStream)), 0},
		"HTTP/1":                            {stack.HTTP11, reset(stack.Cancel), 502},
		"HTTP/1, in what was to be no gRPC": {stack.HTTP10, reset(stack.Cancel), 502},
	} {
		r, _ := asked(tt.version, true)
		resp := quiet().answer(true)(r, tt.err)
		if (resp != nil) != (tt.status != 0) || resp != nil && (resp.Status != tt.status || resp.Header.Has("grpc-status")) {
			t.Errorf("%s: %+v", name, resp)
		}
	}
}

// TestAnswersOfClientsThatLeft has the two codecs' words for it.
func TestAnswersOfClientsThatLeft(t *testing.T) {
	for _, err := range []error{h1.ErrClientGone, codec.ErrClientGone} {
		r, _ := asked(stack.HTTP11, false)
		err = fmt.Errorf("read: %w", err)
		if resp, kind := quiet().answer(true)(r, err), kindOf(err); resp != nil || kind != "" {
			t.Errorf("%v: %+v, counted as %q", err, resp, kind)
		}
	}
}

func TestAnswersOfCarriedRequests(t *testing.T) {
	r, _ := asked(stack.HTTP11, false)
	_, err := l7.Carry(nil, l7.Fail(reset(stack.Cancel)))(t.Context(), r)
	resp := quiet().answer(true)(r, err)
	if want := "upgraded connection failed with HTTP/2 reset: CANCEL"; resp.Status != 502 || resp.Header.Get("l5d-proxy-error") != want {
		t.Errorf("%d %q; want 502, %q", resp.Status, resp.Header.Get("l5d-proxy-error"), want)
	}
	if kind := kindOf(err); kind != "i/o" {
		t.Errorf("counted as %q", kind)
	}
}

// TestClientsThatLeave: whichever version a client speaks, nobody has failed.
func TestClientsThatLeave(t *testing.T) {
	for _, gone := range []error{h1.ErrClientGone, codec.ErrClientGone} {
		r, _ := asked(stack.HTTP11, false)
		if resp, kind := quiet().answer(true)(r, fmt.Errorf("endpoint: %w", gone)), kindOf(gone); resp != nil || kind != "" {
			t.Errorf("answered %v, and counted as %q", resp, kind)
		}
	}
}

func TestCausesOfFailure(t *testing.T) {
	for want, err := range map[string]error{
		"":            errors.New("refused"),
		"h2(CANCEL)":  reset(stack.Cancel),
		"h2(unknown)": reset(1234567), // or a peer could make series at will
	} {
		if got := causeOf(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestEndingOfGRPC(t *testing.T) {
	r, _ := asked(stack.HTTP2, true)
	for _, cause := range []bool{false, true} {
		var h stack.Header
		quiet().ending(cause)(r, fmt.Errorf("read: %w", syscall.ECONNRESET), &h)
		if h.Get("grpc-status") != "14" || h.Has("grpc-message") != cause || h.Len() > 2 {
			t.Errorf("%v; causes may be told: %v", h, cause)
		}
	}
}

func TestGRPCMessage(t *testing.T) {
	for text, want := range map[string]string{
		"no route":                      "no route",
		"50% of \"a\"\r\n":              "50%25 of \"a\"%0D%0A",
		"größer":                        "gr%C3%B6%C3%9Fer",
		strings.Repeat("a", 1023) + "ß": strings.Repeat("a", 1023),
	} {
		if got := grpcMessage(errors.New(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestAnswersOfOverload say when to come again, and name what is lacking. They are
// 503, whatever they led to.
func TestAnswersOfOverload(t *testing.T) {
	short := fmt.Errorf("dial 192.0.2.1:80: %w: %w", syscall.EMFILE, stack.ErrExhausted)
	for _, err := range []error{l7.ErrMemory, l7.ErrShed, balance.ErrQueueFull, h2.ErrQueueFull, short, fmt.Errorf("%w: %w", balance.ErrFailFast, short)} {
		r, _ := asked(stack.HTTP11, false)
		resp := quiet().answer(true)(r, err)
		if resp.Status != 503 || resp.Header.Get("retry-after") != "1" || resp.Header.Get("l5d-proxy-error") != err.Error() {
			t.Errorf("%v: %d %v", err, resp.Status, resp.Header)
		}
		r, _ = asked(stack.HTTP2, true)
		resp = quiet().answer(false)(r, err)
		if resp.Header.Get("grpc-status") != "14" || resp.Header.Get("grpc-retry-pushback-ms") != "1000" || resp.Header.Has("retry-after") {
			t.Errorf("%v, in gRPC: %v", err, resp.Header)
		}
	}
	r, _ := asked(stack.HTTP11, false)
	if resp := quiet().answer(true)(r, balance.ErrUnavailable); resp.Header.Has("retry-after") {
		t.Error("nobody knows when a server will be there again")
	}
}
