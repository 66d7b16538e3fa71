package l4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A ListenConfig says how connections are accepted. Its zero value leaves all to
// the kernel.
type ListenConfig struct {
	// Backlog is how many connections may wait to be accepted; listen(2) caps it
	// by net.core.somaxconn, which is also what zero means.
	Backlog int
	// Keepalive is how long a connection is idle before the kernel probes it, to
	// the second. Probes are on in any case; zero leaves the time as it is.
	Keepalive time.Duration
	// UserTimeout is how long sent bytes may stay unacknowledged before the kernel
	// gives the connection up, to the millisecond: TCP_USER_TIMEOUT. Zero: never.
	UserTimeout time.Duration
}

// Listen opens a listener at addr, with SO_REUSEADDR. What it accepts are Conns.
// The unspecified IPv6 address takes IPv4 connections too, as it does in Linkerd.
// An error names addr.
//
// The options of accepted sockets are set once, on the listener, from which the
// kernel copies them.
func Listen(ctx context.Context, addr netip.AddrPort, cfg ListenConfig) (net.Listener, error) {
	network := "tcp"
	if addr.Addr().Is4() {
		network = "tcp4" // or else 0.0.0.0 would mean IPv6 as well
	}
	lc := net.ListenConfig{
		KeepAlive: -1, // not Go's own, which are set anew for each connection
		Control: func(_, _ string, raw syscall.RawConn) error {
			return setOptions(raw, cfg.Keepalive, cfg.UserTimeout)
		},
	}
	lc.SetMultipathTCP(false) // a redirected MPTCP connection has no original destination
	l, err := lc.Listen(ctx, network, addr.String())
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, cause(err))
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: not TCP", addr), l.Close())
	}
	if err := setBacklog(t, cfg.Backlog); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: backlog %d: %w", addr, cfg.Backlog, err), l.Close())
	}
	return listener{t}, nil
}

// A listener accepts Conns.
type listener struct{ *net.TCPListener }

func (l listener) Accept() (net.Conn, error) {
	t, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	c, err := NewConn(t)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return c, nil
}

// setBacklog listens again, which does no more than change the backlog: package
// net knows only the largest.
func setBacklog(l *net.TCPListener, backlog int) error {
	if backlog == 0 {
		return nil
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error { return unix.Listen(fd, backlog) })
}
