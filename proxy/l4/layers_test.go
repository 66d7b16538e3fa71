package l4

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// through runs layer over a connection that goes to dst, and reports whether it
// was let through. Its local address is 10.0.0.5:4140.
func through(layer stack.Layer[stack.Handler], dst netip.AddrPort) (bool, *stack.Conn, error) {
	passed := false
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := &stack.Conn{Conn: located{b}, OrigDst: dst}
	err := layer(func(context.Context, *stack.Conn) error { passed = true; return nil })(context.Background(), c)
	return passed, c, err
}

type located struct{ net.Conn }

func (located) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.5:4140"))
}

func addrs(s ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range s {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func TestRefuseLoops(t *testing.T) {
	for _, tc := range []struct {
		own  []netip.AddrPort
		dst  string
		loop bool
	}{
		{addrs("127.0.0.1:4140", "[::1]:4140"), "127.0.0.1:4140", true},
		{addrs("127.0.0.1:4140", "[::1]:4140"), "[::1]:4140", true},
		{addrs("127.0.0.1:4140"), "[::ffff:127.0.0.1]:4140", true},
		{addrs("127.0.0.1:4140"), "127.0.0.1:4141", false},
		{addrs("127.0.0.1:4140"), "10.0.0.5:4140", false},
		{addrs("0.0.0.0:4140"), "10.0.0.5:4140", true}, // where it was accepted
		{addrs("0.0.0.0:4140"), "127.0.0.1:4140", true},
		{addrs("[::]:4140"), "10.0.0.5:4140", true},
		{addrs("[::]:4140"), "0.0.0.0:4140", true},
		{addrs("[::]:4140"), "10.0.0.6:4140", false}, // another host's
		{nil, "10.0.0.5:4140", false},
	} {
		passed, c, err := through(RefuseLoops(tc.own...), netip.MustParseAddrPort(tc.dst))
		if passed == tc.loop || errors.Is(err, ErrLoop) != tc.loop {
			t.Errorf("%v to %s: passed %v, %v", tc.own, tc.dst, passed, err)
		}
		if tc.loop {
			checkClosed(t, c)
		}
	}
	if passed, _, _ := through(RefuseLoops(addrs("0.0.0.0:0")...), netip.AddrPort{}); !passed {
		t.Error("a connection without a destination is no loop")
	}
}

// checkClosed sees that c is closed.
func checkClosed(t *testing.T, c *stack.Conn) {
	t.Helper()
	if _, werr := c.Write([]byte("x")); werr == nil {
		t.Error("not closed")
	}
}

func TestRefuseTells(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	var told error
	c := &stack.Conn{Conn: b, OnClose: func(err error) { told = err }}
	if err := Refuse(c, ErrLimit); !errors.Is(err, ErrLimit) || !errors.Is(told, ErrLimit) {
		t.Errorf("Refuse = %v, OnClose was told %v", err, told)
	}
}

func TestAllow(t *testing.T) {
	ips := []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5"), netip.MustParseAddr("::ffff:10.0.0.7")}
	for _, tc := range []struct {
		ips  []netip.Addr
		dst  string
		want bool
	}{
		{ips, "10.0.0.5:80", true},
		{ips, "[::ffff:10.0.0.5]:80", true},
		{ips, "10.0.0.7:80", true},
		{ips, "[fd00::5]:80", true},
		{ips, "[fd00::5%eth0]:80", true},
		{ips, "10.0.0.6:80", false},
		{ips, "127.0.0.1:80", false},
		{nil, "10.0.0.6:80", true},
	} {
		passed, c, err := through(Allow(tc.ips...), netip.MustParseAddrPort(tc.dst))
		if passed != tc.want || errors.Is(err, ErrNotOurs) == tc.want {
			t.Errorf("%v to %s: passed %v, %v", tc.ips, tc.dst, passed, err)
		}
		if !tc.want {
			checkClosed(t, c)
		}
	}
	if passed, _, _ := through(Allow(ips...), netip.AddrPort{}); passed {
		t.Error("no destination is not ours")
	}
}

func TestFixed(t *testing.T) {
	dst := netip.MustParseAddrPort("127.0.0.1:8080")
	if passed, c, err := through(Fixed(dst), netip.AddrPort{}); !passed || err != nil || c.OrigDst != dst {
		t.Errorf("%v, %v, %s", passed, err, c.OrigDst)
	}
}

func TestOrigDstWithoutRedirect(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := Listen(t.Context(), netip.MustParseAddrPort(at), ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dialed(t, addrOf(l.Addr()))
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		c := &stack.Conn{Conn: a}
		err = OrigDst(func(context.Context, *stack.Conn) error { return nil })(t.Context(), c)
		if err != nil || c.OrigDst != addrOf(l.Addr()) {
			t.Errorf("%s: %s, %v; want the listener's", at, c.OrigDst, err)
		}
	}
	passed, _, err := through(OrigDst, netip.AddrPort{})
	if passed || err == nil {
		t.Errorf("a connection that is no socket: %v, %v", passed, err)
	}
}

func TestLimit(t *testing.T) {
	limit := Limit(2)
	hold := make(chan struct{})
	entered := make(chan struct{})
	h := limit(func(context.Context, *stack.Conn) error { entered <- struct{}{}; <-hold; return nil })
	other := limit(func(context.Context, *stack.Conn) error { return nil })
	done := make(chan error)
	for range 2 {
		go func() { done <- h(t.Context(), nil) }()
		<-entered
	}
	a, b := net.Pipe()
	defer a.Close()
	if err := other(t.Context(), &stack.Conn{Conn: b}); !errors.Is(err, ErrLimit) {
		t.Errorf("above the limit: %v", err)
	}
	close(hold)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		if err := other(t.Context(), nil); err != nil {
			t.Errorf("below the limit again: %v", err)
		}
	}
	if passed, _, _ := through(Limit(0), netip.AddrPort{}); !passed {
		t.Error("zero is no limit")
	}
}
