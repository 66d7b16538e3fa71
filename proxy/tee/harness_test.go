package tee_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h1"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// patience bounds what is waited for.
const patience = 60 * time.Second

// crowdPatience bounds what one of a crowd waits for, which includes all others.
const crowdPatience = 20 * time.Minute

// An attach hangs consumers on an exchange, between the server's codec and the
// client's. Resp is nil before the request is sent.
type attach func(r *stack.Request, resp *stack.Response)

func attached(on attach, next stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		on(r, nil)
		resp, err := next(ctx, r)
		if err == nil {
			on(r, resp)
			return resp, nil
		}
		resp = &stack.Response{Status: 502, Body: stack.Empty()}
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
	var all sync.WaitGroup
	var conns sync.Map
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			all.Go(func() {
				defer conns.Delete(c)
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		all.Wait()
	})
	return l.Addr().String()
}

// relay1 relays HTTP/1 to origin by our codec, until the test ends.
func relay1(tb testing.TB, origin string, on attach) string {
	tb.Helper()
	p := h1.Params{
		HeadTime: 5 * time.Second, HeadBytes: 64 << 10, Fields: 200, Drain: 256 << 10, DrainTime: time.Second,
		ClientWatch: 10 * time.Millisecond, Continue: time.Second, Idle: 3 * time.Second, MaxIdle: 1000, Workers: new(codec.Workers),
	}
	ctx, cancel := context.WithCancel(context.Background())
	svc := attached(on, h1.NewPool(ctx, dial(origin), p, nil).Do)
	addr := serve(tb, func(c *stack.Conn) { _ = h1.Serve(ctx, c, svc, &p) })
	tb.Cleanup(cancel)
	return addr
}

// relay2 does the same of HTTP/2.
func relay2(tb testing.TB, origin string, on attach) string {
	tb.Helper()
	p := h2.Params{
		HeadTime: 5 * time.Second, HeadBytes: 64 << 10, Fields: 200, Continue: time.Second,
		DrainTime: 100 * time.Millisecond, MaxStreams: 1000, ConnWindow: 1 << 20, Scheduler: &h2.Scheduler{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	svc := attached(on, h2.NewPool(ctx, dial(origin), p, nil).Do)
	addr := serve(tb, func(c *stack.Conn) { _ = h2.Serve(ctx, c, svc, p) })
	tb.Cleanup(cancel)
	return addr
}

func dial(addr string) stack.Dialer {
	return l4.Dial(l4.DialConfig{AllowLoopback: true, Timeout: patience}, netip.MustParseAddrPort(addr))
}

func serve(tb testing.TB, handle func(*stack.Conn)) string {
	tb.Helper()
	return listen(tb, func(nc *net.TCPConn) {
		c, err := l4.NewConn(nc)
		if err != nil {
			tb.Error(err)
			return
		}
		client, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
		handle(&stack.Conn{Conn: c, Client: client})
	})
}

// origin1 answers each request of HTTP/1 by answer, which has the path, on a
// connection of its own.
func origin1(tb testing.TB, answer func(c *net.TCPConn, path string)) string {
	tb.Helper()
	return listen(tb, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			answer(c, r.URL.Path)
		}
	})
}

// origin2 is net/http's server of HTTP/2 in the clear.
func origin2(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	tb.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}

// client2 is net/http's client of HTTP/2 in the clear.
func client2(tb testing.TB) *http.Client {
	tb.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// ask1 sends a GET of path, and reads its response's head by rd.
func ask1(addr, path string, rd *bufio.Reader) (*net.TCPConn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := nc.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(crowdPatience))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", path); err != nil {
		_ = c.Close()
		return nil, err
	}
	rd.Reset(c)
	for {
		line, err := rd.ReadSlice('\n')
		if err != nil || len(line) == 2 {
			return c, err
		}
	}
}

// gone waits until the other end of c has left.
func gone(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }
