package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// traffic2 is traffic in HTTP/2, with this tree's own client and server, since with
// them either side can reset a stream by any code.
func traffic2(t *testing.T, w *traffic) func(string, *rand.Rand) trafficClient {
	t.Helper()
	w.origin = serveHTTP2(t, w.serve2)
	scheduler := &h2.Scheduler{}
	return func(addr string, _ *rand.Rand) trafficClient {
		ctx, end := context.WithCancel(context.Background())
		params := benchHTTP2()
		params.Scheduler = scheduler
		pool := h2.NewPool(ctx, l4.Dial(l4.DialConfig{AllowLoopback: true}, netip.MustParseAddrPort(addr)), params, nil)
		return &trafficClient2{w, pool, end}
	}
}

// A content2 is an errand's content in HTTP/2.
type content2 struct {
	pieces

	size    int64 // or -1
	trailer stack.Header
	buf     [64 << 10]byte
	more    func(context.Context) error // waits, at the end, for what ends it
	closed  func(error)
}

func newContent2(content []byte, e *errand) *content2 {
	c := &content2{pieces: pieces{rest: content, chunk: e.chunk, left: -1}, size: int64(len(content))}
	if !e.known {
		c.size = -1
		c.trailer.Add("x-sum", crc(content))
	}
	return c
}

func (c *content2) Next(ctx context.Context) ([]byte, error) {
	n, err := c.Read(c.buf[:])
	if errors.Is(err, io.EOF) && c.more != nil {
		return nil, c.more(ctx)
	}
	if err == nil && len(c.rest) == 0 && c.left < 0 && c.more == nil && c.chunk%2 == 0 {
		err = io.EOF // which may come with the last chunk
	}
	return c.buf[:n], err
}

func (c *content2) AtHand() bool           { return len(c.rest) > 0 || c.more == nil }
func (c *content2) Trailer() *stack.Header { return &c.trailer }
func (c *content2) Size() (int64, bool)    { return max(c.size, 0), c.size >= 0 }
func (c *content2) Close(err error) error {
	if c.closed != nil {
		c.closed(err)
	}
	return nil
}

func (e *errand) reset() error { return &stack.ResetError{Code: e.code} }

// codeIn is the code of the reset that err is, or -1.
func codeIn(err error) int64 {
	var reset *stack.ResetError
	if errors.As(err, &reset) {
		return int64(reset.Code)
	}
	return -1
}

func (w *traffic) serve2(ctx context.Context, r *stack.Request) (*stack.Response, error) {
	e := parseErrand(r.Path)
	if e.end == cuts && e.at < 0 && e.unread() {
		return nil, e.reset() // its content is still to come
	}
	got, err := readAll(ctx, r.Body)
	w.check(&e, got, err == nil, r.Body.Trailer().Get("x-sum"))
	if err != nil {
		if code := codeIn(err); e.end != upload || code != int64(e.code) {
			w.t.Errorf("%+v: the origin's request ended with %v", e, err)
		}
		return nil, err
	}
	if e.end == cuts && e.at < 0 {
		return nil, e.reset()
	}
	c := newContent2(w.down(&e), &e)
	switch e.end {
	case regular, upload:
	case cuts:
		c.left, c.err = e.at, e.reset()
	case leaves:
		c.size = -1 // what is left is to come after the client has left
		c.more = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		c.closed = func(err error) { w.gaveUp(&e, stack.ErrCode(codeIn(err))) }
	}
	resp := &stack.Response{Status: 200, Body: c}
	resp.Header.Add("x-saw", crc(got))
	if c.size >= 0 {
		resp.Header.Add("content-length", fmt.Sprint(c.size))
	}
	return resp, nil
}

func readAll(ctx context.Context, b stack.Body) (got []byte, err error) {
	for {
		chunk, err := b.Next(ctx)
		got = append(got, chunk...)
		if err == io.EOF { //nolint:errorlint // the contract is io.EOF itself
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

type trafficClient2 struct {
	*traffic
	pool *h2.Pool
	end  func()
}

func (c *trafficClient2) close() { c.end() }

func (c *trafficClient2) do(e errand) {
	x := &stack.Exchange{}
	x.Begin()
	defer x.End(io.EOF)
	content := newContent2(c.up(&e), &e)
	if e.end == upload {
		content.left, content.err = e.at, e.reset()
	}
	r := &stack.Request{Version: stack.HTTP2, Method: "POST", Scheme: "http", Authority: webHost, Path: e.path(), Body: content}
	if content.size >= 0 {
		r.Header.Add("content-length", fmt.Sprint(content.size))
	}
	resp, err := c.pool.Do(x, r)
	var got []byte
	if err == nil && e.end == leaves {
		c.leave(x, &e, resp)
		return
	}
	if err == nil {
		got, err = readAll(x, resp.Body)
		defer resp.Body.Close(err)
	}
	if e.end != regular {
		c.wasReset(&e, got, err)
		return
	}
	if err != nil {
		c.t.Errorf("%+v: %v", e, err)
		return
	}
	c.compare(&e, resp.Status, got, err, resp.Header.Get("x-saw"), resp.Body.Trailer().Get("x-sum"))
}

// wasReset: it must end with the code of whoever has reset it.
func (c *trafficClient2) wasReset(e *errand, got []byte, err error) {
	if codeIn(err) != int64(e.code) || !strings.HasPrefix(string(c.down(e)), string(got)) {
		c.t.Errorf("%+v: got %d bytes, %v", e, len(got), err)
	}
	c.broken.Add(1)
}

// leave reads a part of the response and resets it, as the origin is to see.
func (c *trafficClient2) leave(x *stack.Exchange, e *errand, resp *stack.Response) {
	var got []byte
	for len(got) < e.at {
		chunk, err := resp.Body.Next(x)
		if got = append(got, chunk...); err != nil {
			c.t.Errorf("%+v: %v", e, err)
			break
		}
	}
	if !strings.HasPrefix(string(c.down(e)), string(got)) {
		c.t.Errorf("%+v: not what was sent", e)
	}
	_ = resp.Body.Close(e.reset())
	if code, err := c.wasGivenUp(e); err != nil || code != e.code {
		c.t.Errorf("%+v: %v, %v", e, code, err)
	}
	c.broken.Add(1)
}
