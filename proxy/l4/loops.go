package l4

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// ErrLoop means that a connection was meant for the proxy itself.
var ErrLoop = errors.New("connection loops back to the proxy")

// RefuseLoops refuses connections whose original destination is one of the proxy's
// own listeners, at addresses own: to forward them would be to accept them again,
// for ever. An unspecified address stands for this host's loopback, and for
// whichever of its addresses the connection was accepted on.
//
// It stands below OrigDst, whose answer it checks.
func RefuseLoops(own ...netip.AddrPort) stack.Layer[stack.Handler] {
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			for _, a := range own {
				if isOwn(a, c) {
					return Refuse(c, fmt.Errorf("%w: %s meant to reach %s, which is its listener %s", ErrLoop, c.Client, c.OrigDst, a))
				}
			}
			return next(ctx, c)
		}
	}
}

// isOwn reports whether c was meant for the listener at a.
func isOwn(a netip.AddrPort, c *stack.Conn) bool {
	dst := c.OrigDst.Addr().Unmap()
	if c.OrigDst.Port() != a.Port() || !dst.IsValid() {
		return false
	}
	if own := a.Addr().Unmap(); !own.IsUnspecified() {
		return dst == own
	}
	return dst.IsLoopback() || dst.IsUnspecified() || dst == addrOf(c.LocalAddr()).Addr()
}
