package h1

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestLeaving: while clients are asked to leave, each response says so and is its
// connection's last, but an idle connection is left alone: a request may be on its
// way on it.
func TestLeaving(t *testing.T) {
	var leaving atomic.Bool
	p := testParams()
	p.Leaving = leaving.Load
	addr := serve(t, func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Status: 200, Body: stack.Empty()}, nil
	}, p, raw)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	rd := bufio.NewReader(c)
	ask := func() *http.Response {
		t.Helper()
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if resp := ask(); resp.Close {
		t.Error("asked to leave too early")
	}
	leaving.Store(true)
	if resp := ask(); !resp.Close {
		t.Error("not asked to leave")
	}
	if _, err := rd.ReadByte(); err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("after the last response: %v, want the connection's end", err)
	}
}

// TestLeavingComesLate: a client that was not told to leave, since its response
// had begun, is told with the next one.
func TestLeavingComesLate(t *testing.T) {
	var leaving atomic.Bool
	p := testParams()
	p.Leaving = leaving.Load
	addr := serve(t, func(context.Context, *stack.Request) (*stack.Response, error) {
		resp := &stack.Response{Status: 200, Body: stack.Empty()}
		resp.Observe(atEnd(func() { leaving.Store(true) }))
		return resp, nil
	}, p, raw)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	for rd, told := bufio.NewReader(c), false; !told; {
		before := leaving.Load()
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatalf("the connection was closed before its client was told: %v", err)
		}
		if told = resp.Close; told != before {
			t.Errorf("told to leave: %t; want %t", told, before)
		}
	}
}

// atEnd is an observer of a body's end.
type atEnd func()

func (atEnd) Data([]byte)   {}
func (f atEnd) End(_ error) { f() }
