package h2_test

import (
	"bytes"
	"context"
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
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// params are those of tests, but for what a test changes.
func params(change ...func(*h2.Params)) h2.Params {
	p := h2.Params{
		HeadTime: 5 * time.Second, HeadBytes: 64 << 10, Fields: 200, Continue: time.Second,
		DrainTime: 100 * time.Millisecond, MaxStreams: 1000, ConnWindow: 1 << 20, Scheduler: &h2.Scheduler{},
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

// listen gives the connections to accept, one after the other, and calls what it
// returns for each in a goroutine of its own. When the test is over it ends, calls
// end, and waits for them.
func listen(tb testing.TB, end func(), accept func(net.Conn) (handle func())) netip.AddrPort {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(accept(nc))
		}
	})
	tb.Cleanup(func() {
		l.Close()
		end()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// serve listens on loopback, and serves what comes with svc until the test is over.
func serve(tb testing.TB, svc stack.Service, p h2.Params) string {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	return listen(tb, cancel, func(nc net.Conn) func() {
		c, err := l4.NewConn(nc.(*net.TCPConn))
		if err != nil {
			tb.Error(err)
			return func() {}
		}
		return func() { _ = h2.Serve(ctx, &stack.Conn{Conn: c}, svc, p) }
	}).String()
}

// pool returns a Pool of connections to addr, which ends with the test.
func pool(tb testing.TB, addr string, p h2.Params) *h2.Pool {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	return h2.NewPool(ctx, l4.Dial(l4.DialConfig{AllowLoopback: true, Timeout: time.Second}, netip.MustParseAddrPort(addr)), p, nil)
}

// origin is net/http's server of HTTP/2 in the clear.
func origin(tb testing.TB, h http.HandlerFunc) string {
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

// client is net/http's client of HTTP/2 in the clear.
func client(tb testing.TB) *http.Client {
	tb.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Sum")
	w.Header().Set("x-method", r.Method)
	n, _ := io.Copy(w, r.Body)
	w.Header().Set("X-Sum", fmt.Sprint(n, r.Trailer.Get("x-end")))
}

// TestRelay sends what net/http can say through a server and a client of ours to
// net/http.
func TestRelay(t *testing.T) {
	for _, size := range []int{0, 1, 128, 16 << 10, 100 << 10, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			at := serve(t, pool(t, origin(t, echo), params()).Do, params())
			c := client(t)
			body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 4 {
						exchange(t, c, at, body)
					}
				})
			}
			all.Wait()
			c.CloseIdleConnections()
		})
	}
}

func exchange(t *testing.T, c *http.Client, at string, body []byte) {
	t.Helper()
	r, err := http.NewRequest("POST", "http://"+at+"/x?y=1", io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		t.Error(err)
		return
	}
	r.Trailer = http.Header{"X-End": {"!"}}
	resp, err := c.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(body), err)
	}
	if sum := resp.Trailer.Get("x-sum"); sum != fmt.Sprint(len(body), "!") {
		t.Errorf("trailer %q", sum)
	}
	if resp.Header.Get("x-method") != "POST" || strings.HasPrefix(resp.Status, "5") {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}
