package l4

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// here permits the loopback.
var here = DialConfig{Timeout: patience, AllowLoopback: true}

func TestDial(t *testing.T) {
	l, err := Listen(t.Context(), loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := here
	cfg.Keepalive, cfg.UserTimeout = 20*time.Second, 7*time.Second
	addr := addrOf(l.Addr())
	c, err := Dial(cfg, netip.AddrPortFrom(netip.AddrFrom16(addr.Addr().As16()), addr.Port()))(t.Context(), stack.NoSession)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, ok := c.Conn.(*Conn)
	if !ok || c.OrigDst != addr || c.Client != addrOf(c.LocalAddr()) {
		t.Fatalf("%T from %s to %s", c.Conn, c.Client, c.OrigDst)
	}
	for name, v := range map[string][2]int{
		"TCP_NODELAY":      {option(t, raw, unix.IPPROTO_TCP, unix.TCP_NODELAY), 1},
		"SO_KEEPALIVE":     {option(t, raw, unix.SOL_SOCKET, unix.SO_KEEPALIVE), 1},
		"TCP_KEEPIDLE":     {option(t, raw, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), 20},
		"TCP_USER_TIMEOUT": {option(t, raw, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT), 7000},
	} {
		if v[0] != v[1] {
			t.Errorf("%s = %d, want %d", name, v[0], v[1])
		}
	}
}

// full returns an address whose listener takes no more: connects to it wait.
func full(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := Listen(t.Context(), loopback, ListenConfig{Backlog: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return addrOf(l.Addr())
		}
		t.Cleanup(func() { c.Close() })
	}
}

func TestDialFails(t *testing.T) {
	closed, err := Listen(t.Context(), loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	refused := addrOf(closed.Addr())
	stuck := full(t)
	why := errors.New("because")
	short := DialConfig{Timeout: 50 * time.Millisecond, AllowLoopback: true}
	gone := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(why)
		return ctx
	}
	soon := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithCancelCause(ctx)
		time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
		return ctx
	}
	now := func(ctx context.Context) context.Context { return ctx }
	for name, tc := range map[string]struct {
		cfg  DialConfig
		ctx  func(context.Context) context.Context
		addr netip.AddrPort
		is   error
		says string
	}{
		"refused":     {here, now, refused, syscall.ECONNREFUSED, "connection refused"},
		"timeout":     {short, now, stuck, ErrConnectTimeout, "connect timed out after 50ms"},
		"cancelled":   {here, soon, stuck, why, "because"},
		"too late":    {here, gone, refused, why, "because"},
		"loopback":    {DialConfig{}, now, refused, ErrLoopback, "loopback"},
		"mapped":      {DialConfig{}, now, netip.MustParseAddrPort("[::ffff:127.0.0.9]:80"), ErrLoopback, "127.0.0.9:80"},
		"unspecified": {DialConfig{}, now, netip.MustParseAddrPort("0.0.0.0:80"), syscall.ECONNREFUSED, "loopback"},
		"loopback 6":  {DialConfig{}, now, netip.MustParseAddrPort("[::1]:80"), ErrLoopback, "[::1]:80"},
		"no address":  {here, now, netip.AddrPort{}, errNoAddress, "dial invalid AddrPort"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(tc.cfg, tc.addr)(tc.ctx(t.Context()), stack.NoSession)
			if c != nil || !errors.Is(err, tc.is) || !errors.Is(err, stack.ErrUnsent) || !strings.Contains(err.Error(), tc.says) ||
				!strings.HasPrefix(err.Error(), "dial ") || strings.Count(err.Error(), "dial") != 1 {
				t.Errorf("%v", err)
			}
		})
	}
}
