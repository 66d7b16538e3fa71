package l4

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback is where tests listen.
var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// tcpPair returns both ends of a connection over loopback.
func tcpPair(tb testing.TB) (client, server *net.TCPConn) {
	tb.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(loopback))
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	client, err = new(net.Dialer).DialTCP(tb.Context(), "tcp", netip.AddrPort{}, addrOf(l.Addr()))
	if err != nil {
		tb.Fatal(err)
	}
	server, err = l.AcceptTCP()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// rawPair is tcpPair with a Conn at the second end.
func rawPair(tb testing.TB) (*net.TCPConn, *Conn) {
	tb.Helper()
	a, b := tcpPair(tb)
	c, err := NewConn(b)
	if err != nil {
		tb.Fatal(err)
	}
	return a, c
}

// serving runs Serve on a new listener until the test ends, and returns where.
func serving(tb testing.TB, h stack.Handler, cfg ServeConfig) netip.AddrPort {
	tb.Helper()
	l, err := Listen(tb.Context(), loopback, ListenConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cut, done := make(chan struct{}), make(chan error)
	if cfg.Cut == nil {
		cfg.Cut = cut
	}
	go func() { done <- Serve(ctx, l, h, cfg) }()
	tb.Cleanup(func() {
		cancel()
		close(cut)
		if err := <-done; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	return addrOf(l.Addr())
}

// dialed returns a client's connection to addr.
func dialed(tb testing.TB, addr netip.AddrPort) *net.TCPConn {
	tb.Helper()
	c, err := new(net.Dialer).DialTCP(tb.Context(), "tcp", netip.AddrPort{}, addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return c
}

// eventually waits until f is true.
func eventually(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			tb.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// openFDs counts this process's descriptors.
func openFDs(tb testing.TB) int {
	tb.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(fds)
}
