package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A writeReader is a connection that can write a request and wait for the first
// bytes of its answer in one, without a buffer while it waits: sent says that w is
// no longer needed. If it took no byte of w its error wraps stack.ErrUnsent.
type writeReader interface {
	WriteRead(w []byte, sent func(), get func() []byte, put func([]byte)) (buf []byte, n int, err error)
}

// A conn is one connection to a server: it carries one exchange at a time.
type conn struct {
	pool  *Pool
	c     *stack.Conn
	wr    writeReader // c's, or nil
	sent  func()      // out.drop, as a value made once
	peer  interface{ PeerClosed() bool }
	warm  func()        // fetches c and its connection
	get   func() []byte // getHead, for when an answer has come
	key   poolKey
	keeps bool          // may be kept at all
	used  bool          // has carried an exchange before
	whole bool          // what is sent first is the whole request
	since time.Duration // when it was put into the pool, by stack.Clock

	in      input
	out     output
	resp    stack.Response
	body    body
	framing framing
	req     *stack.Request
	ctx     context.Context //nolint:containedctx // of the exchange in hand
	watch   stack.Watch
	pump    *pump // of the request's content; nil if that went with the head
}

func newConn(p *Pool, nc *stack.Conn, key poolKey, keeps bool) *conn {
	key.authority = strings.Clone(key.authority) // which is part of a head
	c := &conn{pool: p, c: nc, key: key, keeps: keeps, in: newInput(nc)}
	c.wr, _ = nc.Conn.(writeReader)
	c.peer, _ = nc.Conn.(interface{ PeerClosed() bool })
	c.out.c = nc
	c.sent = c.out.drop
	c.warm = warmer(c, nc)
	c.get = func() []byte {
		c.warm()
		return getHead()
	}
	c.body.wrap = ofResponse
	c.body.closed = c.release
	return c
}

func (c *conn) close() {
	_ = c.c.Close()
	c.in.r = c.in.w
	c.in.idle()
	c.out.drop()
}

// stale reports whether the server has closed c, or sent what nobody asked for.
func (c *conn) stale() bool { return c.peer != nil && c.peer.PeerClosed() }

// Interrupt implements stack.Interrupter: an exchange that is given up takes its
// connection with it.
func (c *conn) Interrupt() { _ = c.c.Close() }

// exchange sends r and returns the head of its answer. If unsent is not nil, it is
// what another connection was to send of r, and could not.
func (c *conn) exchange(ctx context.Context, r *stack.Request, unsent *conn) (*stack.Response, error) {
	c.req, c.ctx, c.pump = r, ctx, nil
	c.watch = stack.WatchFor(ctx, c)
	returned := false
	defer func() {
		if !returned { // a panic passes
			_ = c.fail(errLost)
		}
	}()
	resp, err := c.run(ctx, r, unsent)
	returned = true
	return resp, err
}

// run is exchange, once that sees to the end.
func (c *conn) run(ctx context.Context, r *stack.Request, unsent *conn) (*stack.Response, error) {
	if err := c.prepare(ctx, r, unsent); err != nil {
		return nil, c.fail(err)
	}
	if c.whole && !r.WantsTunnel() {
		_ = r.Body.Close(nil) // from now on its server can see the client leave
	}
	stack.Waiting(ctx)
	err := c.send()
	if err == nil && !c.whole {
		c.pump = startPump(ctx, c)
	}
	if err == nil {
		err = c.readHead(r)
	}
	if err != nil {
		return nil, c.fail(c.at(err))
	}
	c.used = true
	c.resp.Body = &c.body
	stack.Hold(ctx, &c.resp)
	return &c.resp, nil
}

// prepare gathers what is to be sent first.
func (c *conn) prepare(ctx context.Context, r *stack.Request, unsent *conn) error {
	o := &c.out
	o.sent = 0
	if unsent != nil {
		o.take(&unsent.out)
		c.whole = unsent.whole
		unsent.close()
		return nil
	}
	if err := c.writeHead(r); err != nil {
		return err
	}
	var err error
	if c.whole, err = c.atHand(ctx, r); o.err != nil { // a long beginning is written at once
		return c.at(codec.Spent(fmt.Errorf("write request: %w", o.err)))
	}
	return err
}

// at says at which server err happened.
func (c *conn) at(err error) error {
	return fmt.Errorf("server %s: %w", c.c.RemoteAddr(), err)
}

// fail ends an exchange that has no response, and says why.
func (c *conn) fail(err error) error {
	c.watch.Stop()
	_ = c.c.Close()
	if errors.Is(err, stack.ErrUnsent) { // what is to be sent is still needed
		return err
	}
	perr := c.pump.stop(err)
	c.close()
	switch {
	case perr != nil:
		return perr
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	default:
		return err
	}
}

// atHand appends the content that can be had without waiting, if that is the
// whole of it, or at least its beginning.
func (c *conn) atHand(ctx context.Context, r *stack.Request) (whole bool, err error) {
	if r.WantsTunnel() {
		return true, nil
	}
	if waitsFor100(r) || !r.Body.AtHand() {
		return false, nil
	}
	chunk, err := r.Body.Next(ctx)
	if err != nil && err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
		return false, err
	}
	end := err != nil
	if err = c.out.data(chunk); err == nil && end {
		err = c.out.end(r.Body.Trailer())
	}
	return end, err
}

// send writes what is to be sent. If that is the whole request, it also waits for
// the first bytes of the answer, where the connection can do both at once.
func (c *conn) send() error {
	o := &c.out
	if !c.whole || c.wr == nil || len(o.buf) == 0 || o.err != nil {
		return c.unsent(c.write())
	}
	size := len(o.buf)
	c.in.idle()
	buf, n, err := c.wr.WriteRead(o.buf, c.sent, c.get, codec.Return)
	if errors.Is(err, stack.ErrUnsent) {
		return c.unsent(err)
	}
	c.c.CountWritten(size)
	if err != nil {
		return c.unanswered(err)
	}
	if x := stack.ExchangeOf(c.ctx); x != nil && x.Warm != nil {
		x.Warm()
	}
	c.c.CountRead(n)
	c.in.buf, c.in.r, c.in.w = buf, 0, n
	return nil
}

// write writes what is to be sent, unless the server has closed the connection
// meanwhile.
func (c *conn) write() error {
	if c.used && c.out.sent == 0 && c.wr != nil && c.stale() { // else the server may have answered what it has
		return errStale
	}
	return c.out.flush()
}

// unanswered says what the error of a WriteRead that has sent something means.
func (c *conn) unanswered(err error) error {
	c.out.drop()
	if errors.Is(err, io.EOF) {
		return ErrNoAnswer
	}
	return err
}

// errStale means that a kept connection is not to be used again.
var errStale = errors.New("kept connection was closed by the server")

// unsent makes sure that an error says whether the request may be sent again:
// only on a kept connection that took no byte of it.
func (c *conn) unsent(err error) error {
	switch {
	case err == nil:
		return nil
	case c.used && c.out.sent == 0:
		return fmt.Errorf("%w: %w", stack.ErrUnsent, err)
	default:
		return codec.Spent(fmt.Errorf("write request: %w", err))
	}
}

// readHead reads the response's head, and passes on the interim ones before it.
func (c *conn) readHead(r *stack.Request) error {
	for interims := 0; ; interims++ {
		if err := c.readOneHead(r); err != nil {
			return ofResponse(err)
		}
		if c.resp.Status >= 200 || c.resp.Tunnel {
			break
		}
		if interims == maxInterims {
			return &ResponseError{Reason: fmt.Sprintf("more than %d interim responses", maxInterims)}
		}
		c.pass(r)
	}
	c.body.start(&c.in, c.pool.params, c.framing)
	c.body.guard = c.ctx
	if c.resp.Tunnel {
		c.pump = startPump(c.ctx, c)
	} else if r.WantsTunnel() {
		_ = r.Body.Close(nil)
	}
	return nil
}

func (c *conn) readOneHead(r *stack.Request) error {
	head, err := c.in.head(c.pool.params.HeadBytes, 0)
	guard.Point("http1 response received")
	if errors.Is(err, io.EOF) {
		return ErrNoAnswer
	}
	if err != nil {
		return err
	}
	if err = c.in.parser.response(head, &c.resp, c.pool.params.Fields); err != nil {
		return err
	}
	c.framing, err = responseFraming(&c.resp, r.Method, r.Header.Get("upgrade"))
	return err
}

// maxInterims is how many 1xx responses may come ahead of a final one.
const maxInterims = 16

// pass gives an interim response to the client.
func (c *conn) pass(r *stack.Request) {
	if c.resp.Status == 100 {
		c.pump.proceed()
	}
	if r.Interim != nil {
		r.Interim(c.resp.Status, &c.resp.Header)
	}
	c.resp.Reset()
}

// release ends the exchange, and keeps the connection if it is clean.
func (c *conn) release(cause error) {
	clean := c.watch.Stop() && cause == nil && c.reusable()
	if !clean {
		_ = c.c.Close() // which ends the pump too
	}
	if c.pump != nil {
		failed := c.pump.stop(stack.ErrClosed) != nil
		clean = clean && !failed && c.pump.whole
	}
	keepsFor := c.framing.keepsFor
	c.req, c.ctx, c.body.guard, c.watch, c.pump = nil, nil, nil, stack.Watch{}, nil
	c.resp.Reset() // its strings are parts of a head, which would be kept with it
	if !clean {
		c.close()
		return
	}
	if keepsFor > 0 {
		c.pool.learn(keepsFor)
	}
	c.pool.put(c)
}

// reusable reports whether the response says that another may follow it, and left
// nothing unread.
func (c *conn) reusable() bool {
	f := &c.framing
	last := f.close || c.resp.Version == stack.HTTP10 && !f.keepAlive
	return c.keeps && !last && !c.resp.Tunnel && c.body.hasEnded() && c.in.r == c.in.w
}
