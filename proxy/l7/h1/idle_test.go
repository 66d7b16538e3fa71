package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A late connection is looked at when it is waited on without a buffer.
type late struct {
	*l4.Conn
	idle func()
}

func (l late) ReadLate(get func() []byte, put func([]byte)) ([]byte, int, error) {
	l.idle()
	return l.Conn.ReadLate(get, put)
}

// TestIdleServerHoldsNothing looks at a connection between two requests, small and
// large ones.
func TestIdleServerHoldsNothing(t *testing.T) {
	p := testParams()
	p.Workers = nil // never parked
	var idles atomic.Int32
	addr := listen(t, func(c *net.TCPConn) {
		s := takeServer()
		s.attach(newAccepted(&stack.Conn{Conn: late{raw(c).(*l4.Conn), func() {
			idles.Add(1)
			if s.in.buf != nil || s.out.buf != nil || s.req.Header.Len() > 0 {
				t.Errorf("it idles with buffers of %d and %d bytes, and %d fields", len(s.in.buf), cap(s.out.buf), s.req.Header.Len())
			}
		}}}, echoing, &p))
		defer s.close()
		for more := true; more; {
			more, _ = s.exchange()
		}
	})
	c := dial(t, addr)
	rd := bufio.NewReader(c)
	requests := []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 60_000) + "\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nf4240\r\n" + strings.Repeat("x", 1_000_000) + "\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000),
	}
	for _, text := range requests {
		go func() { fmt.Fprint(c, text) }()
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = io.WriteString(c, last)
	if _, err := io.Copy(io.Discard, rd); err != nil {
		t.Error(err)
	}
	if n := idles.Load(); n < 2 {
		t.Errorf("it idled %d times without a buffer, want one for each of %d requests", n, len(requests))
	}
}

// TestIdleClientHoldsNothing looks at a connection in the pool.
func TestIdleClientHoldsNothing(t *testing.T) {
	origin := httpOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := NewPool(ctx, dialer(origin, raw), testParams(), nil)
	for _, size := range []int{0, 10, 1_000_000} {
		r := &stack.Request{Version: stack.HTTP11, Method: "POST", Path: "/", Authority: "a", Body: stack.Bytes(make([]byte, size))}
		r.Header.Add("host", "a")
		resp, err := p.Do(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = resp.Body.Next(ctx)
		}
		if err := resp.Body.Close(nil); err != nil {
			t.Fatal(err)
		}
		kept := *p.idle[poolKey{authority: "a"}]
		if len(kept) != 1 {
			t.Fatalf("%d connections are kept", len(kept))
		}
		if c := kept[0]; c.in.buf != nil || c.out.buf != nil || c.resp.Header.Len() > 0 || c.req != nil || c.ctx != nil {
			t.Errorf("after %d bytes it holds buffers of %d and %d bytes, %d fields, %v", size, len(c.in.buf), cap(c.out.buf), c.resp.Header.Len(), c.req)
		}
	}
}

// TestPoolLearns gives connections up before the server does, as that has said or
// shown.
func TestPoolLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var dials atomic.Int32
		said := ""
		p := NewPool(ctx, func(context.Context, stack.Session) (*stack.Conn, error) {
			dials.Add(1)
			client, server := net.Pipe()
			go func() {
				rd := bufio.NewReader(server)
				for {
					if _, err := readHead(rd); err != nil {
						_ = server.Close()
						return
					}
					fmt.Fprintf(server, "HTTP/1.1 200 OK\r\n%scontent-length: 0\r\n\r\n", said)
				}
			}()
			return &stack.Conn{Conn: client}, nil
		}, testParams(), nil)
		ask := func(pause time.Duration, want int32) {
			t.Helper()
			time.Sleep(pause)
			_ = get(t, p, "a").Body.Close(nil)
			if n := dials.Load(); n != want {
				t.Errorf("%d dials after %v, want %d", n, pause, want)
			}
		}
		ask(0, 1)
		ask(2900*time.Millisecond, 1)
		said = "Keep-Alive: timeout=1, max=100\r\n"
		ask(0, 1)
		ask(700*time.Millisecond, 1)
		ask(900*time.Millisecond, 2)
		said = "Keep-Alive: timeout=99999999999\r\n"
		time.Sleep(2 * relearn)
		ask(0, 3)
		ask(2900*time.Millisecond, 3)
	})
}

// TestPoolReady backs off from a server that cannot be dialled.
func TestPoolReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var dials, changes atomic.Int32
		refuse := true
		fake := fakeServers(&dials)
		params := testParams()
		params.Backoff = func() func() time.Duration {
			pause := time.Second
			return func() time.Duration { pause *= 2; return pause }
		}
		p := NewPool(ctx, func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
			if refuse {
				return nil, fmt.Errorf("%w: refused", stack.ErrUnsent)
			}
			return fake(ctx, s)
		}, params, func() { changes.Add(1) })
		try := func(ready bool) {
			t.Helper()
			r := &stack.Request{Version: stack.HTTP11, Method: "GET", Path: "/", Authority: "a", Body: stack.Empty()}
			if resp, err := p.Do(ctx, r); err == nil {
				_ = resp.Body.Close(nil)
			} else if !errors.Is(err, stack.ErrUnsent) {
				t.Errorf("%v, want it unsent", err)
			}
			if p.Ready() != ready {
				t.Errorf("ready %t, want %t", p.Ready(), ready)
			}
		}
		try(false)
		try(false) // which does not prolong the pause
		time.Sleep(2*time.Second + 1)
		if !p.Ready() || changes.Load() < 2 {
			t.Errorf("ready %t after the pause, %d changes", p.Ready(), changes.Load())
		}
		try(false)
		time.Sleep(3 * time.Second)
		if p.Ready() {
			t.Error("ready before the second pause is over")
		}
		refuse = false
		try(true)
	})
}
