package l4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Why a dial failed, where the kernel has no word for it.
var (
	ErrConnectTimeout = errors.New("connect timed out")
	ErrLoopback       = errors.New("destination is this host's own loopback")
	errNoAddress      = errors.New("no address")
)

// A DialConfig says how connections are opened.
type DialConfig struct {
	// Timeout bounds the connect. Zero: only the context and the kernel do.
	Timeout time.Duration
	// Keepalive and UserTimeout are as in ListenConfig.
	Keepalive, UserTimeout time.Duration
	// AllowLoopback permits destinations on this host's loopback. Otherwise they
	// are refused, as in Linkerd: a redirected connection never means one, and a
	// control plane must not be able to send the client's bytes there.
	AllowLoopback bool
	// Data is the first descriptor that is kept for others; zero: none is.
	Data int
}

// Dial returns what opens plain connections to addr, whatever the session is. Its
// errors read "dial ADDR: CAUSE", and wrap stack.ErrUnsent beside the cause, which
// is ErrConnectTimeout, ErrLoopback, the context's, or the kernel's.
func Dial(cfg DialConfig, addr netip.AddrPort) stack.Dialer {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	d := &net.Dialer{
		Timeout:   cfg.Timeout,
		KeepAlive: -1, // set below, before the connect
		Control: func(_, _ string, raw syscall.RawConn) error {
			if err := kept(raw, cfg.Data); err != nil {
				return err
			}
			return setOptions(raw, cfg.Keepalive, cfg.UserTimeout)
		},
	}
	return func(ctx context.Context, _ stack.Session) (*stack.Conn, error) {
		c, err := connect(ctx, d, cfg, addr)
		if err != nil {
			return nil, &dialError{addr: addr, cause: err}
		}
		return &stack.Conn{Conn: c, Client: addrOf(c.LocalAddr()), OrigDst: addr}, nil
	}
}

func connect(ctx context.Context, d *net.Dialer, cfg DialConfig, addr netip.AddrPort) (*Conn, error) {
	if !addr.IsValid() {
		return nil, errNoAddress // package net would take it for this host
	}
	if ip := addr.Addr(); !cfg.AllowLoopback && (ip.IsLoopback() || ip.IsUnspecified()) { // the latter is loopback, to connect(2)
		return nil, fmt.Errorf("%w: %w", ErrLoopback, syscall.ECONNREFUSED)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	guard.Point("dial")
	t, err := d.DialTCP(ctx, "tcp", netip.AddrPort{}, addr)
	switch {
	case err == nil:
		return NewConn(t)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded): // the dialer's
		return nil, fmt.Errorf("%w after %v", ErrConnectTimeout, cfg.Timeout)
	default:
		return nil, cause(err)
	}
}

// kept refuses a descriptor that is kept for others.
func kept(raw syscall.RawConn, data int) error {
	if data == 0 {
		return nil
	}
	return control(raw, func(fd int) error {
		if fd >= data {
			return ErrDescriptors
		}
		return nil
	})
}

// exhausted reports whether this process, or its host, has none of what a dial
// needs: the server is not to blame.
func exhausted(err error) bool {
	for _, e := range []error{stack.ErrExhausted, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// A dialError is a failed dial. Nothing was sent.
type dialError struct {
	addr  netip.AddrPort
	cause error
}

func (e *dialError) Error() string { return fmt.Sprintf("dial %s: %v", e.addr, e.cause) }
func (e *dialError) Unwrap() []error {
	if exhausted(e.cause) {
		return []error{e.cause, stack.ErrUnsent, stack.ErrExhausted}
	}
	return []error{e.cause, stack.ErrUnsent}
}

// addrOf returns a as an address that is never IPv4 mapped into IPv6; zero if a
// has none.
func addrOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
