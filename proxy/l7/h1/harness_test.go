package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// testParams are those of the sidecar, but short where a test would have to wait.
func testParams() Params {
	return Params{
		HeadTime: 5 * time.Second, HeadBytes: 64 << 10, Fields: 200, Drain: 256 << 10, DrainTime: time.Second,
		ClientWatch: 10 * time.Millisecond, Continue: time.Second, Idle: 3 * time.Second, MaxIdle: 1000,
		Workers: new(codec.Workers), Reasons: true,
	}
}

// A wrapping makes a TCP connection what the codec is given.
type wrapping func(*net.TCPConn) net.Conn

// plain is net's own connection: it cannot tell that its peer has closed it.
func plain(c *net.TCPConn) net.Conn { return c }

// raw is what the sidecar uses.
func raw(c *net.TCPConn) net.Conn {
	r, err := l4.NewConn(c)
	if err != nil {
		panic(err)
	}
	return r
}

func dialer(addr string, wrap wrapping) stack.Dialer {
	return func(ctx context.Context, _ stack.Session) (*stack.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", stack.ErrUnsent, err)
		}
		return &stack.Conn{Conn: wrap(c.(*net.TCPConn))}, nil
	}
}

// rescued turns an error into a response, as a stack does.
func rescued(svc stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		resp, err := svc(ctx, r)
		if err == nil {
			return resp, nil
		}
		status := 502
		var bad *RequestError
		if errors.As(err, &bad) {
			status = bad.Status
		}
		resp = &stack.Response{Status: status, Body: stack.Empty()}
		resp.Header.Add("l5d-proxy-error", strings.Map(func(r rune) rune { return max(r, ' ') }, err.Error()))
		resp.Header.Add("connection", "close")
		return resp, nil
	}
}

// listen gives each connection to handle, and ends all when the test does.
func listen(tb testing.TB, handle func(*net.TCPConn)) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			wg.Go(func() {
				defer conns.Delete(c)
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return l.Addr().String()
}

// serve runs Serve on loopback until the test ends, and returns its address.
func serve(tb testing.TB, svc stack.Service, p Params, wrap wrapping) string {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	addr := listen(tb, func(c *net.TCPConn) {
		client, _ := netip.ParseAddrPort(c.RemoteAddr().String())
		_ = Serve(ctx, &stack.Conn{Conn: wrap(c), Client: client}, svc, &p)
	})
	tb.Cleanup(cancel)
	return addr
}

// proxyOver runs a proxy to origin until the test ends.
func proxyOver(tb testing.TB, origin string, p Params, wrap wrapping) string {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	return serve(tb, rescued(NewPool(ctx, dialer(origin, wrap), p, nil).Do), p, wrap)
}

func proxy(tb testing.TB, origin string, p Params) string {
	tb.Helper()
	return proxyOver(tb, origin, p, raw)
}

// httpOrigin is a net/http server.
func httpOrigin(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// dial opens a connection that the test's end closes, and on which nothing takes
// for ever.
func dial(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// talk sends text on a connection of its own and returns all that comes back, and
// how that ended: nil is a regular end.
func talk(tb testing.TB, addr, text string) (string, error) {
	tb.Helper()
	c := dial(tb, addr)
	sent := make(chan struct{})
	go func() { defer close(sent); _, _ = io.WriteString(c, text) }()
	got, err := io.ReadAll(c)
	_ = c.Close()
	<-sent
	return string(got), err
}

// must is talk for a connection that has to end regularly.
func must(tb testing.TB, addr, text string) string {
	tb.Helper()
	got, err := talk(tb, addr, text)
	if err != nil {
		tb.Errorf("connection ended with %v after %q", err, got)
	}
	return got
}

// wait fails the test if c is not closed in time.
func wait(tb testing.TB, c <-chan struct{}, what string) {
	tb.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		tb.Fatalf("timed out waiting for %s", what)
	}
}
