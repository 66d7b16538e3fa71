package l7

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/tls"
)

// The mesh's own header fields that the layers here set, read or remove, by
// Linkerd's names.
const (
	clientID     = "l5d-client-id"
	requireID    = "l5d-require-id"
	dstCanonical = "l5d-dst-canonical"
	proxyError   = "l5d-proxy-error"
	proxyConn    = "l5d-proxy-connection"
	twinPrefix   = "l5d_" // many an application reads it as l5d-
)

// StripTwins removes the underscore twins of the mesh's header fields, which some
// applications cannot tell from the fields that the mesh vouches for.
func StripTwins(next stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		for i := range r.Header.Len() {
			if name, _ := r.Header.At(i); strings.HasPrefix(name, twinPrefix) {
				r.Header.DelFunc(func(name, _ string) bool { return strings.HasPrefix(name, twinPrefix) })
				break
			}
		}
		return next(ctx, r)
	}
}

// ClientID tells the application who the client proved to be, and never believes
// what the client itself says of that.
func ClientID(next stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if id := r.Conn.Peer; id != "" {
			r.Header.Set(clientID, string(id))
		} else {
			r.Header.Del(clientID)
		}
		return next(ctx, r)
	}
}

// Canonical tells the peer's proxy which destination the request was for: name is
// "fqn:port".
func Canonical(name string) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			r.Header.Set(dstCanonical, name)
			return next(ctx, r)
		}
	}
}

// ErrIdentity means that a request requires an identity that the endpoint does
// not have.
var ErrIdentity = errors.New("endpoint does not have the required identity")

// RequireID fails requests whose l5d-require-id is not the endpoint's identity,
// be it that it cannot be one at all. The field is for this proxy, and removed.
func RequireID(e discover.Endpoint) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			if r.Header.Has(requireID) {
				if err := checkID(&r.Header, e.ID); err != nil {
					return nil, err
				}
			}
			return next(ctx, r)
		}
	}
}

// checkID removes l5d-require-id, of which each value must be id. A DNS name may be
// written in capitals; a URI's path may not.
func checkID(h *stack.Header, id tls.ID) error {
	isURI := strings.Contains(string(id), ":")
	for want := range h.Values(requireID) {
		if id == "" || want != string(id) && (isURI || lowerASCII(want) != string(id)) {
			return fmt.Errorf("%w: required %q, found %q", ErrIdentity, want, id)
		}
	}
	h.Del(requireID)
	return nil
}

// lowerASCII leaves alone what no DNS name has, where strings.ToLower would make
// letters of it that one may have.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// StripPeerErrors removes what a peer's proxy says to this one from its
// responses. Only a meshed peer's word counts, and none is meshed yet.
func StripPeerErrors(next stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		resp, err := next(ctx, r)
		if err != nil {
			return nil, err
		}
		resp.Header.Del(proxyError)
		resp.Header.Del(proxyConn)
		return resp, nil
	}
}

// OverrideAuthority sends requests on for another authority than the client's:
// that of a destination behind a gateway. None leaves them alone.
func OverrideAuthority(authority string) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		if authority == "" {
			return next
		}
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			r.Header.Del(dstCanonical)
			r.Authority = authority
			if r.Version == stack.HTTP2 { // which says it in :authority alone
				r.Header.Del("host")
			} else {
				r.Header.Set("host", authority)
			}
			return next(ctx, r)
		}
	}
}
