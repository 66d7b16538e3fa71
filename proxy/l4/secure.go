package l4

import (
	"context"
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/tls"
)

// Secure has TLS spoken on the connections that it dials, by the identity in store,
// to a server that proves to be p.Server. The dial's context bounds the handshake.
func Secure(store *tls.Store, p tls.ClientParams) stack.Layer[stack.Dialer] {
	return func(next stack.Dialer) stack.Dialer {
		return func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
			c, err := next(ctx, s)
			if err != nil {
				return nil, err
			}
			t, err := store.Client(ctx, c.Conn, p) // closes it if it fails
			if err != nil {
				return nil, fmt.Errorf("TLS with %s as %q: %w: %w", c.OrigDst, p.Server, err, stack.ErrUnsent)
			}
			return &stack.Conn{
				Conn: t, Client: c.Client, OrigDst: c.OrigDst, Peer: t.Peer(),
				TLS: stack.MeshTLS, Secured: &stack.Secured{SNI: p.SNI, ALPN: t.ALPN()},
			}, nil
		}
	}
}
