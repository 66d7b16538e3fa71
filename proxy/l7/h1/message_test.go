package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A stub is a body of which nothing can be had but what it says of itself.
type stub struct {
	stack.Body
	size  int64
	known bool
}

func (s stub) Size() (int64, bool) { return s.size, s.known }

// TestUnwritable has layers try to split messages from within.
func TestUnwritable(t *testing.T) {
	request := func(change func(*stack.Request)) *stack.Request {
		r := &stack.Request{Version: stack.HTTP11, Method: "GET", Scheme: "http", Authority: "a", Path: "/", Body: stack.Empty()}
		r.Header.Add("host", "a")
		change(r)
		return r
	}
	for name, change := range map[string]func(*stack.Request){
		"method":          func(r *stack.Request) { r.Method = "GET / HTTP/1.1\r\nX: y\r\n\r\nGET" },
		"no method":       func(r *stack.Request) { r.Method = "" },
		"path":            func(r *stack.Request) { r.Path = "/ HTTP/1.1\r\nX: y" },
		"space":           func(r *stack.Request) { r.Path = "/a b" },
		"authority":       func(r *stack.Request) { r.Authority = "a\r\nx: y"; r.Header.Del("host") },
		"absolute":        func(r *stack.Request) { r.Authority = "a b"; r.Form = stack.AbsoluteForm },
		"scheme":          func(r *stack.Request) { r.Scheme = "ht tp"; r.Form = stack.AbsoluteForm },
		"value":           func(r *stack.Request) { r.Header.Add("x", "y\r\nz: 1") },
		"name":            func(r *stack.Request) { r.Header.Add("x: y\r\nz", "1") },
		"empty name":      func(r *stack.Request) { r.Header.Add("", "1") },
		"length":          func(r *stack.Request) { r.Header.Add("content-length", "5") },
		"two lengths":     func(r *stack.Request) { r.Header.Add("content-length", "0"); r.Header.Add("content-length", "0") },
		"no length":       func(r *stack.Request) { r.Header.Add("content-length", "5"); r.Body = stub{stack.Empty(), 0, false} },
		"long content":    func(r *stack.Request) { r.Body = stub{stack.Bytes([]byte("12")), 1, true} },
		"short content":   func(r *stack.Request) { r.Body = stub{stack.Bytes([]byte("12")), 3, true} },
		"unknown, in 1.0": func(r *stack.Request) { r.Version = stack.HTTP10; r.Body = stub{stack.Empty(), 0, false} },
	} {
		t.Run(name, func(t *testing.T) {
			origin := newWitness(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := NewPool(ctx, dialer(origin.addr, raw), testParams(), nil).Do(ctx, request(change))
			if err == nil {
				_ = resp.Body.Close(nil)
				t.Errorf("sent")
			}
			if origin.targets() != "" || origin.bad != nil {
				t.Errorf("the origin saw %q, %q", origin.targets(), origin.bad)
			}
		})
	}
}

// TestUnwritableResponse sees such a response cut.
func TestUnwritableResponse(t *testing.T) {
	for name, change := range map[string]func(*stack.Response){
		"value":         func(r *stack.Response) { r.Header.Add("x", "y\r\n\r\nHTTP/1.1 200 OK\r\n") },
		"name":          func(r *stack.Response) { r.Header.Add("x\n", "1") },
		"length":        func(r *stack.Response) { r.Header.Add("content-length", "5") },
		"no length":     func(r *stack.Response) { r.Header.Add("content-length", "5"); r.Body = stub{stack.Empty(), 0, false} },
		"long content":  func(r *stack.Response) { r.Body = stub{stack.Bytes([]byte("12")), 1, true} },
		"short content": func(r *stack.Response) { r.Body = stub{stack.Bytes([]byte("12")), 3, true} },
		"tunnel":        func(r *stack.Response) { r.Tunnel = true },
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, func(context.Context, *stack.Request) (*stack.Response, error) {
				resp := &stack.Response{Status: 200, Body: stack.Empty()}
				change(resp)
				return resp, nil
			}, testParams(), raw)
			for _, version := range []string{"1.0", "1.1"} {
				if got, err := talk(t, addr, "GET / HTTP/"+version+"\r\nHost: a\r\n\r\n"); err == nil || strings.Contains(got, "\r\n\r\n") && name != "long content" {
					t.Errorf("HTTP/%s: got %q, %v, want a reset", version, got, err)
				}
			}
		})
	}
}

// TestReasonIsKept writes a harmless phrase where a layer's would end the line.
func TestReasonIsKept(t *testing.T) {
	for phrase, want := range map[string]string{"": "HTTP/1.1 404 Not Found\r\n", "Gone fishing": "HTTP/1.1 404 Gone fishing\r\n", "x\r\ny: z": "HTTP/1.1 404 Not Found\r\n"} {
		addr := serve(t, func(context.Context, *stack.Request) (*stack.Response, error) {
			return &stack.Response{Status: 404, Reason: phrase, Body: stack.Empty()}, nil
		}, testParams(), raw)
		if got := must(t, addr, last); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %q", phrase, got)
		}
	}
}

// ends counts how often an observer is told of an end.
type ends struct {
	mu  sync.Mutex
	all []string
}

func (e *ends) of(what string) stack.Observer {
	return stack.OnEnd(func(err error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, fmt.Sprint(what, " ", err))
	})
}

// TestObserversEndOnce watches both bodies of many exchanges on recycled messages,
// also of a request that nobody reads.
func TestObserversEndOnce(t *testing.T) {
	var e ends
	origin := newWitness(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pool := NewPool(ctx, dialer(origin.addr, raw), testParams(), nil)
	n := 0
	addr := serve(t, func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		n++
		r.Observe(e.of(fmt.Sprint("request ", n)))
		if strings.HasPrefix(r.Path, "/refuse") {
			return &stack.Response{Status: 403, Body: stack.Empty()}, nil
		}
		resp, err := pool.Do(ctx, r)
		if err == nil {
			resp.Observe(e.of(fmt.Sprint("response ", n)))
		}
		return resp, err
	}, testParams(), raw)
	const post = "POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
	got := must(t, addr, fmt.Sprintf(post, "1")+fmt.Sprintf(post, "refuse")+fmt.Sprintf(post, "3")+last)
	if strings.Count(got, "HTTP/1.1 200") != 3 || strings.Count(got, "HTTP/1.1 403") != 1 {
		t.Errorf("got %q", got)
	}
	want := fmt.Sprint([]string{"request 1 <nil>", "response 1 <nil>", "request 2 " + stack.ErrClosed.Error(), "request 3 <nil>", "response 3 <nil>", "request 4 <nil>", "response 4 <nil>"})
	e.mu.Lock()
	defer e.mu.Unlock()
	if all := fmt.Sprint(e.all); all != want {
		t.Errorf("got  %s\nwant %s", all, want)
	}
}

// TestLateInterrupt has contexts end just as the read that they were for is over:
// the next read must not fail for it.
func TestLateInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		c := &stack.Conn{Conn: server}
		p := testParams()
		in := newInput(c)
		b := &body{wrap: ofRequest}
		b.start(&in, &p, framing{kind: byEnd})
		for i := range 100 {
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { _, _ = client.Write([]byte{byte(i)}) }()
			chunk, err := b.Next(ctx)
			go cancel(errOver)
			b.stop.Interrupt() // which whoever ended ctx may still be about to call
			if len(chunk) != 1 || chunk[0] != byte(i) || err != nil {
				t.Fatalf("read %d: %v, %v", i, chunk, err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errOver)
		for range 2 { // it loses nothing, and may be called again
			if _, err := b.Next(ctx); !errors.Is(err, errOver) {
				t.Errorf("with a context that is done: %v", err)
			}
		}
		go func() { _, _ = client.Write([]byte("x")); _ = client.Close() }()
		if chunk, err := b.Next(t.Context()); string(chunk) != "x" || err != nil {
			t.Errorf("afterwards: %q, %v", chunk, err)
		}
		if _, err := b.Next(t.Context()); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
			t.Errorf("at the end: %v", err)
		}
	})
}
