package l7

import (
	"context"
	"errors"
	"strings"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h1"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Two sidecars carry HTTP/1 over HTTP/2, which needs fewer connections. What
// HTTP/2 cannot say of the message then travels in one field, by Linkerd's name and
// form: "HTTP/1.1" or "HTTP/1.0", and for a target in absolute form "; absolute-form".
const origProto = "l5d-orig-proto"

const (
	absoluteForm = "absolute-form"
	absoluteAt   = len("HTTP/1.1; ") // where Linkerd looks for it, whatever stands ahead
)

// ErrCarried is in the error of a request of HTTP/1 that failed since the stream
// that carried it was reset. Its client knows nothing of streams.
var ErrCarried = errors.New("upgraded connection failed with HTTP/2 reset")

// A carriedError says with which code.
type carriedError struct {
	reset *stack.ResetError
	cause error // that holds it
}

func (e *carriedError) Error() string {
	text := ErrCarried.Error() + ": " + e.reset.Code.String()
	if e.reset.Cause != "" {
		text += ": " + e.reset.Cause
	}
	return text
}

func (e *carriedError) Unwrap() []error { return []error{ErrCarried, e.cause} }

// ByVersion sends each request by the client of its version.
func ByVersion(http1, http2 stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if r.Version == stack.HTTP2 {
			return http2(ctx, r)
		}
		return http1(ctx, r)
	}
}

// Carry sends requests of HTTP/1 by http2, for the peer's Carried to take out
// again. Those that want a tunnel go by http1, since a stream becomes none.
//
// The request stays its own version's: whoever made it goes by that, to answer
// "expect: 100-continue" among other things. Its host field is left in, and as it
// is: the application is to see the one that the client sent, and it may differ
// from the authority, or be missing.
func Carry(http1, http2 stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if r.WantsTunnel() {
			return http1(ctx, r)
		}
		was := mark(r)
		resp, err := http2(ctx, r)
		if err != nil {
			was.restore(r) // it may yet be sent elsewhere, uncarried
			return nil, carried(err)
		}
		arrive(r, resp)
		return resp, nil
	}
}

// A carriage is what mark changes of a request.
type carriage struct {
	own          string // the client's own l5d-orig-proto, which means nothing
	hasOwn       bool
	scheme, path string
}

// mark makes r one that HTTP/2 can carry.
func mark(r *stack.Request) carriage {
	was := carriage{r.Header.Get(origProto), r.Header.Has(origProto), r.Scheme, r.Path}
	r.Header.Set(origProto, originOf(r))
	r.Header.Del("transfer-encoding")
	r.Scheme = strings.ToLower(r.Scheme)
	r.Path = path2(r)
	return was
}

func (was *carriage) restore(r *stack.Request) {
	r.Scheme, r.Path = was.scheme, was.path
	if was.hasOwn {
		r.Header.Set(origProto, was.own)
	} else {
		r.Header.Del(origProto)
	}
}

// originOf returns r's version and form as l5d-orig-proto has them.
func originOf(r *stack.Request) string {
	switch {
	case r.Version == stack.HTTP10 && r.Form == stack.AbsoluteForm:
		return "HTTP/1.0; " + absoluteForm
	case r.Version == stack.HTTP10:
		return "HTTP/1.0"
	case r.Form == stack.AbsoluteForm:
		return "HTTP/1.1; " + absoluteForm
	default:
		return "HTTP/1.1"
	}
}

// path2 returns r's path as :path, which is never empty: "http://a" and "http://a/"
// are the same but for OPTIONS, where the first is "*" (RFC 9113, section 8.3.1).
func path2(r *stack.Request) string {
	switch {
	case r.Path == "" && r.Method == "OPTIONS":
		return "*"
	case r.Path == "" || r.Path[0] == '?':
		return "/" + r.Path
	default:
		return r.Path
	}
}

// carried makes a stream's reset the failure of a request of HTTP/1.
func carried(err error) error {
	var reset *stack.ResetError
	if errors.As(err, &reset) {
		return &carriedError{reset, err}
	}
	return err
}

// arrive gives resp, which answers r, the version that it had, and that version's
// phrase for its status, since HTTP/2 brings none.
func arrive(r *stack.Request, resp *stack.Response) {
	switch resp.Header.Get(origProto) {
	case "HTTP/1.1":
		resp.Version = stack.HTTP11
	case "HTTP/1.0":
		resp.Version = stack.HTTP10
	default:
		resp.Version = r.Version
	}
	resp.Header.Del(origProto)
	resp.Reason = h1.Reason(resp.Status)
}

// Carried takes out what a peer's Carry has sent: below it, such a request is one
// of HTTP/1 again. A client of HTTP/1 may send the field too; it means nothing
// there, and is left alone.
func Carried(next stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if r.Version != stack.HTTP2 || !r.Header.Has(origProto) {
			return next(ctx, r)
		}
		unmark(r)
		resp, err := next(ctx, r)
		if err != nil {
			return nil, err
		}
		depart(resp)
		return resp, nil
	}
}

// unmark makes r what it was when its client sent it. One that cannot have been of
// HTTP/1 stays what it is, and keeps no host beside its authority.
func unmark(r *stack.Request) {
	origin := r.Header.Get(origProto)
	r.Header.Del(origProto)
	switch {
	case r.WantsTunnel():
		r.Header.Del("host")
	case strings.HasPrefix(origin, "HTTP/1.1"):
		r.Version = stack.HTTP11
		reform(r, origin)
	case strings.HasPrefix(origin, "HTTP/1.0"):
		r.Version = stack.HTTP10
		reform(r, origin)
	default:
		r.Header.Del("host")
	}
}

// reform gives r its target's form back. In origin form the application goes by
// the host, and so must who decides about the request before.
func reform(r *stack.Request, origin string) {
	absolute := len(origin) >= absoluteAt+len(absoluteForm) && origin[absoluteAt:absoluteAt+len(absoluteForm)] == absoluteForm
	if absolute && r.Authority != "" {
		r.Form = stack.AbsoluteForm
		if r.Path == "*" {
			r.Path = ""
		}
		return
	}
	if r.Path == "*" {
		r.Form = stack.AsteriskForm
	}
	if host := r.Header.Get("host"); host != "" {
		r.Authority = host
	}
}

// depart makes resp, if an application gave it in HTTP/1, one that HTTP/2 can carry.
func depart(resp *stack.Response) {
	if resp.Version != stack.HTTP11 && resp.Version != stack.HTTP10 {
		return
	}
	resp.Header.Set(origProto, resp.Version.String())
	resp.Header.Del("transfer-encoding")
	resp.Version = stack.HTTP2
}
