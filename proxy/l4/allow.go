package l4

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// ErrNotOurs means that a connection was meant for another host.
var ErrNotOurs = errors.New("original destination is not an address of this workload")

// Allow refuses connections whose original destination is none of ips, unless ips
// is empty: LINKERD2_PROXY_INBOUND_IPS. Without it, whoever can reach the inbound
// port of a host that forwards could have the proxy connect anywhere.
//
// It stands below OrigDst, whose answer it checks.
func Allow(ips ...netip.Addr) stack.Layer[stack.Handler] {
	ours := make(map[netip.Addr]bool, len(ips))
	for _, ip := range ips {
		ours[ip.Unmap().WithZone("")] = true
	}
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			if len(ours) > 0 && !ours[c.OrigDst.Addr().Unmap().WithZone("")] {
				return Refuse(c, fmt.Errorf("%w: %s", ErrNotOurs, c.OrigDst))
			}
			return next(ctx, c)
		}
	}
}
