package l4

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// option returns one of c's socket options.
func option(t *testing.T, c syscall.Conn, level, name int) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var v int
	if err := control(raw, func(fd int) error { v, err = unix.GetsockoptInt(fd, level, name); return err }); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestListenOptions(t *testing.T) {
	kernels := option(t, mustConn(t), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	for _, tc := range []struct {
		cfg               ListenConfig
		idle, userTimeout int
	}{
		{ListenConfig{}, kernels, 0},
		{ListenConfig{Keepalive: 10 * time.Second, UserTimeout: 30 * time.Second, Backlog: 7}, 10, 30_000},
		{ListenConfig{Keepalive: time.Millisecond, UserTimeout: time.Microsecond}, 1, 1},
	} {
		l, err := Listen(t.Context(), loopback, tc.cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dialed(t, addrOf(l.Addr()))
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		c, ok := accepted.(*Conn)
		if !ok {
			t.Fatalf("accepted a %T", accepted)
		}
		for name, v := range map[string][2]int{
			"SO_REUSEADDR":     {option(t, l.(syscall.Conn), unix.SOL_SOCKET, unix.SO_REUSEADDR), 1},
			"TCP_NODELAY":      {option(t, c, unix.IPPROTO_TCP, unix.TCP_NODELAY), 1},
			"SO_KEEPALIVE":     {option(t, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE), 1},
			"TCP_KEEPIDLE":     {option(t, c, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), tc.idle},
			"TCP_USER_TIMEOUT": {option(t, c, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT), tc.userTimeout},
		} {
			if v[0] != v[1] {
				t.Errorf("%+v: %s = %d, want %d", tc.cfg, name, v[0], v[1])
			}
		}
		raw, _ := l.(syscall.Conn).SyscallConn()
		control(raw, func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil || tc.cfg.Backlog != 0 && int(info.Sacked) != tc.cfg.Backlog { // its name for a listener's backlog
				t.Errorf("%+v: backlog %d, %v", tc.cfg, info.Sacked, err)
			}
			return nil
		})
	}
}

// mustConn returns a connection that nothing was set on.
func mustConn(t *testing.T) *net.TCPConn {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&net.Dialer{KeepAlive: -1}).DialTCP(t.Context(), "tcp", netip.AddrPort{}, addrOf(l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestListenFamilies(t *testing.T) {
	for _, tc := range []struct{ at, from, client string }{
		{"0.0.0.0:0", "127.0.0.1", "127.0.0.1"},
		{"[::]:0", "127.0.0.1", "127.0.0.1"}, // not ::ffff:127.0.0.1
		{"[::]:0", "::1", "::1"},
		{"[::1]:0", "::1", "::1"},
	} {
		l, err := Listen(t.Context(), netip.MustParseAddrPort(tc.at), ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c := dialed(t, netip.AddrPortFrom(netip.MustParseAddr(tc.from), addrOf(l.Addr()).Port()))
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if got := addrOf(accepted.RemoteAddr()); got != addrOf(c.LocalAddr()) || got.Addr().String() != tc.client {
			t.Errorf("%s: client %s, want %s", tc.at, got, c.LocalAddr())
		}
	}
	// 0.0.0.0 leaves the port free for IPv6.
	l, err := Listen(t.Context(), netip.MustParseAddrPort("0.0.0.0:0"), ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l6, err := Listen(t.Context(), netip.AddrPortFrom(netip.IPv6Loopback(), addrOf(l.Addr()).Port()), ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	l6.Close()
}

func TestListenTaken(t *testing.T) {
	l, err := Listen(t.Context(), loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Listen(t.Context(), addrOf(l.Addr()), ListenConfig{})
	if err == nil || !strings.HasPrefix(err.Error(), "listen on "+l.Addr().String()+": ") || strings.Count(err.Error(), "listen") != 1 {
		t.Errorf("%v", err)
	}
}
