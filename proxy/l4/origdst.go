package l4

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and
// IP6T_SO_ORIGINAL_DST as well.
const soOriginalDst = 80

// OrigDst finds where the client meant to go before the kernel redirected it here,
// as SO_ORIGINAL_DST says. A connection that was not redirected has the address on
// which it was accepted. One whose original destination cannot be had is refused.
func OrigDst(next stack.Handler) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error {
		dst, err := originalDst(c)
		if err != nil {
			return Refuse(c, fmt.Errorf("original destination of connection from %s: %w", c.Client, err))
		}
		c.OrigDst = dst
		return next(ctx, c)
	}
}

// Fixed gives connections the original destination dst, in place of OrigDst: for a
// listener whose destination is configured. An invalid dst leaves it unset, as for
// one that is configured by name.
func Fixed(dst netip.AddrPort) stack.Layer[stack.Handler] {
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			c.OrigDst = dst
			return next(ctx, c)
		}
	}
}

func originalDst(c *stack.Conn) (netip.AddrPort, error) {
	s, ok := innermost(c.Conn).(syscall.Conn)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%T is not a socket", innermost(c.Conn))
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	local := addrOf(c.LocalAddr())
	ask := originalDst6
	if local.Addr().Is4() { // even on a socket of IPv6, whose redirect was IPv4's
		ask = originalDst4
	}
	dst := local
	err = control(raw, func(fd int) error {
		asked, err := ask(fd)
		if err == nil {
			dst = asked
		}
		return err
	})
	if errors.Is(err, syscall.ENOENT) { // no redirect
		return local, nil
	}
	return dst, err
}

// originalDst4 gets a sockaddr_in: 2 bytes of family, then port and address.
func originalDst4(fd int) (netip.AddrPort, error) {
	r, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst) // for its size: it has room for a sockaddr_in
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("SO_ORIGINAL_DST: %w", err)
	}
	b := r.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// originalDst6 gets a sockaddr_in6.
func originalDst6(fd int) (netip.AddrPort, error) {
	r, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst) // for its size: it begins with a sockaddr_in6
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("IP6T_SO_ORIGINAL_DST: %w", err)
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], r.Addr.Port)
	ip := netip.AddrFrom16(r.Addr.Addr)
	if r.Addr.Scope_id != 0 {
		ip = ip.WithZone(strconv.FormatUint(uint64(r.Addr.Scope_id), 10))
	}
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(port[:])), nil
}
