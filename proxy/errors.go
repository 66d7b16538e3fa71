package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h1"
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
	close  bool   // the client is to open another connection
	kind   string // in *_errors_total
}

// answers says which response stands for which error. The first that matches
// wins, so that a cause stands above what it causes.
var answers = []answered{
	{balance.ErrUnknown, 503, true, "unexpected"}, // above what it goes with
	{balance.ErrFailFast, 504, true, "failfast"},
	{balance.ErrUnavailable, 503, true, "failfast"},
	{balance.ErrQueueFull, 503, true, "loadshed"},
	{l7.ErrShed, 503, true, "loadshed"},
	{l7.ErrIdentity, 502, true, "identity required"},
	{errRefusal, 502, true, "unexpected"},
	{errUndiscovered, 503, true, "unexpected"},
	{profiles.ErrUnknownName, 502, true, "unexpected"},
	{profiles.ErrNoRoute, 404, false, "unexpected"},
	{profiles.ErrNoBackend, 503, true, "loadshed"},
	{policy.ErrDenied, 403, false, ""},
	{l4.ErrLoop, 502, true, "unexpected"},
	{l4.ErrLoopback, 502, true, "i/o"},
	{l4.ErrConnectTimeout, 504, true, "i/o"},
	{h1.ErrNoAnswer, 502, true, "i/o"},
	{h1.ErrTruncated, 502, true, "i/o"},
	{context.DeadlineExceeded, 504, false, "response timeout"},
	{io.EOF, 502, true, "i/o"},
	{net.ErrClosed, 502, true, "i/o"},
	{errInvalid, 500, true, "unexpected"},
	{errUnserved, 500, true, "unexpected"},
}

// classify finds what err is answered with.
func classify(err error) answered {
	var request *h1.RequestError
	if errors.As(err, &request) {
		return answered{err, request.Status, true, "unexpected"}
	}
	var injected *l7.Injected
	if errors.As(err, &injected) {
		return answered{err, injected.Status, false, "unexpected"}
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a
		}
	}
	var response *h1.ResponseError
	var errno syscall.Errno
	if errors.As(err, &response) || errors.As(err, &errno) || errors.Is(err, stack.ErrUnsent) {
		return answered{err, 502, true, "i/o"}
	}
	return answered{err, 500, true, "unexpected"} // in no row: a bug here, or in a row's place
}

// kindOf is the label error of *_errors_total.
func kindOf(err error) string {
	if errors.Is(err, h1.ErrClientGone) {
		return "" // nobody has failed but the client
	}
	return classify(err).kind
}

// answer makes the response that stands for an error, and logs why. If cause is
// set the response says so too, which only the workload's own side may know. A
// client that has left is not answered.
func (p *Proxy) answer(cause bool) func(*stack.Request, error) *stack.Response {
	return func(r *stack.Request, err error) *stack.Response {
		if errors.Is(err, h1.ErrClientGone) {
			return nil
		}
		a := classify(err)
		p.logFailure(r, a.status, err)
		resp := &stack.Response{Status: a.status, Body: stack.Empty()}
		resp.Header.Add("content-length", "0")
		if a.close {
			resp.Header.Add("connection", "close")
		}
		if cause {
			resp.Header.Add("l5d-proxy-error", headerText(err))
			if a.close {
				resp.Header.Add("l5d-proxy-connection", "close")
			}
		}
		return resp
	}
}

// logFailure logs a request that the proxy answered in a server's stead.
func (p *Proxy) logFailure(r *stack.Request, status int, err error) {
	ctx := context.Background()
	if !p.Log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	p.Log.LogAttrs(ctx, slog.LevelInfo, r.Version.String()+" request failed", slog.Any("client", r.Conn.Client),
		slog.String("method", r.Method), slog.String("authority", r.Authority), slog.String("path", r.Path),
		slog.Int("status", status), slog.Any("error", err))
}

// logRefused logs the connections that could not be carried on. How one ends that
// was is between its two sides.
func (p *Proxy) logRefused(next stack.Handler) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error {
		err := next(ctx, c)
		var pick *balance.Error
		if errors.Is(err, stack.ErrUnsent) || errors.As(err, &pick) || classify(err).status == 500 && err != nil {
			p.Log.LogAttrs(ctx, slog.LevelInfo, "connection refused", slog.Any("client", c.Client),
				slog.Any("destination", c.OrigDst), slog.Any("error", err))
		}
		return err
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
