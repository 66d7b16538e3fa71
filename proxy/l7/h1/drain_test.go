package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// draining serves one connection, parked or not, until the function that it returns
// is called, and after.
func draining(t *testing.T, p Params) (c net.Conn, held *stack.Conn, drain func(), ended <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l4.NewConn(far.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	held = &stack.Conn{Conn: raw}
	ctx, drain := context.WithCancel(context.Background())
	over := make(chan error, 1)
	svc := func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Status: 200, Body: stack.Empty()}, nil
	}
	go func() { over <- Serve(ctx, held, svc, &p) }()
	t.Cleanup(func() { _ = c.Close(); drain() })
	return c, held, drain, over
}

func drainParams(parked bool) Params {
	p := testParams()
	p.Workers = nil
	if parked {
		p.Workers, p.ClientWatch = new(codec.Workers), 10*time.Millisecond
	}
	return p
}

// TestDrainLeavesTime drains a connection that idles: its client has Params.Quiet in
// which to ask, is answered, and told to leave.
func TestDrainLeavesTime(t *testing.T) {
	for _, parked := range []bool{false, true} {
		p := drainParams(parked)
		p.Quiet = time.Minute
		c, held, drain, ended := draining(t, p)
		rd := bufio.NewReader(c)
		if resp := asked(t, c, rd); resp.Close {
			t.Error("told to leave too early")
		}
		for _, n := held.Holder().InHand(); n > 0; _, n = held.Holder().InHand() { // until it idles
			runtime.Gosched()
		}
		held.Holder().Leave()
		drain()
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, %v; want it left open", n, err)
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if resp := asked(t, c, rd); !resp.Close {
			t.Error("not told to leave")
		}
		if n, err := io.Copy(io.Discard, rd); n > 0 || err != nil {
			t.Errorf("%d bytes, %v; want the end", n, err)
		}
		_ = c.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func asked(t *testing.T, c net.Conn, rd *bufio.Reader) *http.Response {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(rd, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestDrainTellsOfWhatCrossed drains a connection that idles for too long. Its half is
// closed, and a request that comes after all is known to be lost.
func TestDrainTellsOfWhatCrossed(t *testing.T) {
	for _, parked := range []bool{false, true} {
		for _, late := range []bool{false, true} {
			var crossed atomic.Int32
			p := drainParams(parked)
			p.DrainTime = 10 * time.Second
			p.Crossed = func(*stack.Conn) { crossed.Add(1) }
			c, _, drain, ended := draining(t, p)
			drain()
			if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
				t.Fatalf("%d bytes, %v; want the end", n, err)
			}
			if late {
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			} else {
				_ = c.Close()
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if got := crossed.Load() == 1; got != late {
				t.Errorf("a request came: %t; told: %t", late, got)
			}
		}
	}
}

// TestDrainAnswersWhatHasCome drains connections on which a request has just come.
func TestDrainAnswersWhatHasCome(t *testing.T) {
	for n := range 200 {
		c, _, drain, ended := draining(t, drainParams(n%2 == 0))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		drain() // the request is in the kernel's hands, or in the server's
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("run %d: %v", n, err)
		}
		_ = resp.Body.Close()
		_ = c.Close()
		<-ended
	}
}
