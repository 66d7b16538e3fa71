package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"

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

// What the stacks themselves fail with.
var (
	// errUndiscovered means that the control plane said nothing of a destination
	// in time, and nothing is remembered of it.
	errUndiscovered = errors.New("no answer from the control plane")
	// errRefusal means that the control plane named a backend that cannot be used.
	errRefusal = errors.New("backend cannot be used")
	// errInvalid means that the control plane's answer makes no sense where this
	// request or connection would go by it.
	errInvalid = errors.New("invalid client policy")
	// errUnserved means that a destination is to be served in a way that is not
	// built yet.
	errUnserved = errors.New("not supported yet")
)

// An answered is what a client sees of an error.
type answered struct {
	err    error
	status int
	grpc   int    // the status of gRPC, for whom HTTP's is 200
	close  bool   // the client is to open another connection
	kind   string // in *_errors_total
}

// answers says which response stands for which error. The first that matches
// wins, so that a cause stands above what it causes.
var answers = []answered{
	{stack.ErrExhausted, 503, stack.GRPCUnavailable, true, "loadshed"}, // above what it may lead to: no server is to blame
	{l7.ErrMemory, 503, stack.GRPCUnavailable, true, "loadshed"},
	{balance.ErrUnknown, 503, stack.GRPCUnavailable, true, "unexpected"}, // above what it goes with
	{balance.ErrFailFast, 504, stack.GRPCDeadlineExceeded, true, "failfast"},
	{balance.ErrUnavailable, 503, stack.GRPCUnavailable, true, "failfast"},
	{balance.ErrQueueFull, 503, stack.GRPCUnavailable, true, "loadshed"},
	{h2.ErrFailFast, 504, stack.GRPCDeadlineExceeded, true, "failfast"}, // as balance's; above the dials that they go with
	{h2.ErrUnavailable, 503, stack.GRPCUnavailable, true, "failfast"},
	{h2.ErrQueueFull, 503, stack.GRPCUnavailable, true, "loadshed"},
	{l7.ErrShed, 503, stack.GRPCUnavailable, true, "loadshed"},
	{l7.ErrIdentity, 502, stack.GRPCUnavailable, true, "identity required"},
	{errRefusal, 502, stack.GRPCUnavailable, true, "unexpected"},
	{errUndiscovered, 503, stack.GRPCUnavailable, true, "unexpected"},
	{profiles.ErrUnknownName, 502, stack.GRPCUnavailable, true, "unexpected"},
	{profiles.ErrNoRoute, 404, stack.GRPCNotFound, false, "unexpected"},
	{profiles.ErrNoBackend, 503, stack.GRPCUnavailable, true, "loadshed"},
	{policy.ErrDenied, 403, stack.GRPCPermissionDenied, false, ""},
	{l4.ErrLoop, 502, stack.GRPCUnavailable, true, "unexpected"},
	{l4.ErrHelloTimeout, 502, stack.GRPCUnavailable, true, "tls detection timeout"}, // this and the seven below fail connections: nobody is answered
	{l4.ErrHelloSize, 502, stack.GRPCUnavailable, true, "unexpected"},
	{l4.ErrNotMutual, 502, stack.GRPCUnavailable, true, "unexpected"},
	{l4.ErrNotHeaded, 502, stack.GRPCUnavailable, true, "unexpected"},
	{l4.ErrGateway, 502, stack.GRPCUnavailable, true, "unexpected"},
	{l4.ErrNoHeader, 502, stack.GRPCUnavailable, true, "i/o"},
	{l4.ErrHeader, 502, stack.GRPCUnavailable, true, "i/o"},
	{l4.ErrHeaderTimeout, 502, stack.GRPCUnavailable, true, "i/o"},
	{l4.ErrLoopback, 502, stack.GRPCUnavailable, true, "i/o"},
	{l4.ErrConnectTimeout, 504, stack.GRPCDeadlineExceeded, true, "i/o"},
	{l7.ErrCarried, 502, stack.GRPCUnavailable, true, "i/o"},
	{h1.ErrNoAnswer, 502, stack.GRPCUnavailable, true, "i/o"},
	{h1.ErrTruncated, 502, stack.GRPCUnavailable, true, "i/o"},
	{h2.ErrNoAnswer, 502, stack.GRPCUnavailable, true, "i/o"},
	{h2.ErrTruncated, 502, stack.GRPCUnavailable, true, "i/o"},
	{h2.ErrKeepAlive, 502, stack.GRPCUnavailable, true, "i/o"},
	{h2.ErrGoAway, 502, stack.GRPCUnavailable, true, "i/o"},
	{context.DeadlineExceeded, 504, stack.GRPCDeadlineExceeded, false, "response timeout"},
	{io.EOF, 502, stack.GRPCUnavailable, true, "i/o"},
	{net.ErrClosed, 502, stack.GRPCUnavailable, true, "i/o"},
	{errInvalid, 500, stack.GRPCInternal, true, "unexpected"},
	{errUnserved, 500, stack.GRPCInternal, true, "unexpected"},
}

// classify finds what err is answered with.
func classify(err error) answered {
	var request *h1.RequestError
	if errors.As(err, &request) {
		return answered{err, request.Status, stack.GRPCInternal, true, "unexpected"}
	}
	var injected *l7.Injected
	if errors.As(err, &injected) {
		return answered{err, injected.Status, injected.GRPC, false, "unexpected"}
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a
		}
	}
	return unlisted(err)
}

// unlisted is classify for the errors that have a type, and no row.
func unlisted(err error) answered {
	var response1 *h1.ResponseError
	var response2 *codec.ResponseError
	var errno syscall.Errno
	switch {
	case isReset(err): // of a stream that a client of HTTP/1 knows nothing of
		return answered{err, 502, stack.GRPCUnavailable, true, "unexpected"}
	case errors.As(err, &response1), errors.As(err, &response2), errors.As(err, &errno), errors.Is(err, stack.ErrUnsent):
		return answered{err, 502, stack.GRPCUnavailable, true, "i/o"}
	default: // in no row: a bug here, or in a row's place
		return answered{err, 500, stack.GRPCInternal, true, "unexpected"}
	}
}

// isGone reports whether a request failed because its client has left.
func isGone(err error) bool {
	return errors.Is(err, h1.ErrClientGone) || errors.Is(err, codec.ErrClientGone)
}

func isReset(err error) bool {
	var reset *stack.ResetError
	return errors.As(err, &reset)
}

// kindOf is the label error of *_errors_total.
func kindOf(err error) string {
	if isGone(err) {
		return "" // nobody has failed but the client
	}
	return classify(err).kind
}

// causeOf is the label error of response_total. A peer may reset with any number:
// those that RFC 9113 does not name are one.
func causeOf(err error) string {
	var reset *stack.ResetError
	switch {
	case !errors.As(err, &reset):
		return ""
	case reset.Code > stack.HTTP11Required:
		return "h2(unknown)"
	default:
		return "h2(" + reset.Code.String() + ")"
	}
}

// answer makes the response that stands for an error, and logs why. If cause is
// set the response says so too, which only the workload's own side may know. A
// client that has left is not answered. Nor is one of HTTP/2 whose stream was
// reset: its codec passes the reset on, code and all.
func (p *Proxy) answer(cause bool) func(*stack.Request, error) *stack.Response {
	return func(r *stack.Request, err error) *stack.Response {
		if isGone(err) || r.Version == stack.HTTP2 && isReset(err) {
			return nil
		}
		a := classify(err)
		p.logFailure(r, a.status, err)
		if a.close && r.Conn.CloseClient != nil { // each codec says it in its version's way
			r.Conn.CloseClient()
		}
		resp := a.response(isGRPC(r))
		if cause {
			a.tell(resp, isGRPC(r), err)
		}
		return resp
	}
}

// isGRPC reports whether r's client expects to be answered as gRPC answers.
func isGRPC(r *stack.Request) bool { return r.Version == stack.HTTP2 && r.GRPC() }

// response makes the response that says what has failed, but not why.
func (a *answered) response(grpc bool) *stack.Response {
	resp := &stack.Response{Status: a.status, Body: stack.Empty()}
	resp.Header.Add("content-length", "0")
	if grpc {
		resp.Status = 200
		resp.Header.Add("content-type", "application/grpc")
		resp.Header.Add("grpc-status", strconv.Itoa(a.grpc))
	}
	if a.passes() {
		a.tellWhen(resp, grpc)
	}
	return resp
}

// passes reports whether a client may try again soon, and had better not at once.
func (a *answered) passes() bool {
	for _, err := range []error{stack.ErrExhausted, l7.ErrMemory, l7.ErrShed, balance.ErrQueueFull, h2.ErrQueueFull} {
		if errors.Is(a.err, err) {
			return true
		}
	}
	return false
}

// tellWhen adds when: as RFC 9110, section 10.2.3, has it, or in gRPC's way (its
// proposal A6), which Linkerd's proxy does not.
func (a *answered) tellWhen(resp *stack.Response, grpc bool) {
	if grpc {
		resp.Header.Add("grpc-retry-pushback-ms", "1000")
	} else {
		resp.Header.Add("retry-after", "1")
	}
}

// tell adds to resp why.
func (a *answered) tell(resp *stack.Response, grpc bool, err error) {
	if grpc {
		resp.Header.Add("grpc-message", grpcMessage(err))
	}
	resp.Header.Add("l5d-proxy-error", headerText(err))
	if a.close {
		resp.Header.Add("l5d-proxy-connection", "close")
	}
}

// ending makes the trailers of a gRPC response whose content broke off, and logs
// why. It is to trailers what answer is to responses.
func (p *Proxy) ending(cause bool) func(*stack.Request, error, *stack.Header) {
	return func(r *stack.Request, err error, trailer *stack.Header) {
		a := classify(err)
		p.logFailure(r, a.status, err)
		trailer.Add("grpc-status", strconv.Itoa(a.grpc))
		if cause {
			trailer.Add("grpc-message", grpcMessage(err))
		}
	}
}

// logFailure logs a request that the proxy answered in a server's stead.
func (p *Proxy) logFailure(r *stack.Request, status int, err error) {
	ctx, level := context.Background(), slog.LevelInfo
	if errors.Is(err, l7.ErrMemory) {
		level = slog.LevelDebug // that there is none is told once, and not by each
	}
	if !p.Log.Enabled(ctx, level) {
		return
	}
	p.Log.LogAttrs(ctx, level, r.Version.String()+" request failed", slog.Any("client", r.Conn.Client),
		slog.String("method", r.Method), slog.String("authority", r.Authority), slog.String("path", r.Path),
		slog.Int("status", status), slog.Any("error", err))
}

// logRefused logs the connections that could not be carried on. How one ends that
// was is between its two sides.
func (p *Proxy) logRefused(next stack.Handler) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error {
		err := next(ctx, c)
		if err != nil {
			p.logFailed(ctx, c, err)
		}
		return err
	}
}

// logFailed logs err if it refused c. Its frame is large, and no part of what every
// connection has on its stack.
//
//go:noinline
func (p *Proxy) logFailed(ctx context.Context, c *stack.Conn, err error) {
	var pick *balance.Error
	if errors.Is(err, stack.ErrUnsent) || errors.As(err, &pick) || classify(err).status == 500 {
		p.Log.LogAttrs(ctx, slog.LevelInfo, "connection refused", slog.Any("client", c.Client),
			slog.Any("destination", c.OrigDst), slog.Any("error", err))
	}
}

// maxErrorText bounds an error in a header.
const maxErrorText = 1024

// headerText makes an error's text a header's value.
func headerText(err error) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, err.Error())
	return text[:min(len(text), maxErrorText)]
}

// grpcMessage makes an error's text a grpc-message, which is percent-encoded (gRPC
// over HTTP2, Status-Message).
func grpcMessage(err error) string {
	const hex = "0123456789ABCDEF"
	text := err.Error()
	text = strings.ToValidUTF8(text[:min(len(text), maxErrorText)], "") // cut within no rune
	encoded := make([]byte, 0, len(text))
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			encoded = append(encoded, '%', hex[c>>4], hex[c&15])
		} else {
			encoded = append(encoded, c)
		}
	}
	return string(encoded)
}
