package h2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A client is a Pool's side of one connection.
type client struct {
	conn    *conn
	pool    *Pool
	changed bool            // SETTINGS or GOAWAY have come in this batch; the reader's own
	free    []*clientStream // guarded by conn.mu
}

func newClient(p *Pool, nc *stack.Conn) *client {
	cl := &client{pool: p}
	cl.conn = newConn(nc, &p.params)
	cl.conn.client = cl
	return cl
}

// run receives until the connection is over.
func (cl *client) run() {
	c := cl.conn
	alive := startKeepAlive(c)
	defer alive.stop()
	why := c.receive(stageClient)
	err := cl.why(why)
	c.end(err)
	cl.pool.drop(cl)
	_ = c.params.Guard.Do(stageClient, func() { cl.leave(why) })
	if !errors.Is(err, errDrained) {
		c.nc.Failed(err)
	}
	c.close()
}

// leave tells the server what it has done wrong, if it has.
func (cl *client) leave(why error) {
	var ce *connError
	if errors.As(why, &ce) {
		cl.conn.farewell(why)
	} else {
		cl.conn.lastWords()
	}
}

// why is what the streams are told that the end of the connection cuts short.
func (cl *client) why(err error) error {
	c := cl.conn
	c.mu.Lock()
	defer c.unlock()
	var ce *connError
	switch {
	case c.err != nil:
		return c.err
	case errors.As(err, &ce):
		return &codec.ResponseError{Reason: err.Error()}
	case c.in.stopped.Load():
		return errDrained
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errLate
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

// tell has those look again who wait for room on a connection.
func (cl *client) tell() {
	if cl.changed {
		cl.changed = false
		cl.pool.changed()
	}
}

// retire lets the connection end with its last stream.
func (cl *client) retire() {
	cl.conn.mu.Lock()
	defer cl.conn.unlock()
	cl.conn.away = true
	cl.freed()
}

// freed is told that there is one stream less. The caller holds mu.
func (cl *client) freed() {
	c := cl.conn
	if c.away && c.streams.count == 0 {
		c.in.stop()
	}
	if cl.pool.waiting.Load() > 0 {
		go cl.pool.changed() // which calls nobody
	}
}

// usable reports whether a stream may be begun. The caller holds mu.
func (c *conn) usable() bool {
	return !c.away && c.err == nil && c.werr == nil && c.newest < maxStreamID-2 && c.streams.count < int(c.peer.maxStreams)
}

// open finds what a header block is for. The caller holds mu.
func (cl *client) open(b *block, st *stream) error {
	c := cl.conn
	switch {
	case st == nil && c.isIdle(b.id):
		return &connError{stack.ProtocolError, "HEADERS of a stream that nobody has begun"}
	case st == nil || st.broken():
		return nil // of a stream that was left
	case st.recvEnd:
		return c.failStream(st, stack.StreamClosed, "HEADERS after the stream's end")
	default:
		cs := st.role.(*clientStream) //nolint:forcetypeassert // a client's streams are no others
		if cs.answered {
			b.trailers(c)
			return nil
		}
		c.scratch.Reset()
		b.response, b.to, b.kind = cs, &c.scratch, responseHead
	}
	return nil
}

// response takes a response's head, or an interim one.
func (cl *client) response(b *block) error {
	c, st := cl.conn, b.response
	if c.streams.get(b.id) != &st.stream {
		return nil
	}
	status, why := b.badResponse()
	switch {
	case why != "":
		return c.failStream(&st.stream, stack.ProtocolError, why)
	case status < 200:
		if st.addInterim(status); st.between > maxInterims {
			return c.failStream(&st.stream, stack.EnhanceYourCalm, "too many interim responses")
		}
	default:
		st.answer(b, status)
		if b.end && st.length > 0 {
			return c.failStream(&st.stream, stack.ProtocolError, wrongLength)
		}
		if b.end {
			st.length = 0
			st.endRecv()
		}
	}
	c.touch(&st.stream)
	return nil
}

// A clientStream is one request and its response.
type clientStream struct {
	stream
	resp  stack.Response
	req   *stack.Request
	send  sender
	whole bool // all of the content went with the head
	pump  *pump

	// What follows is guarded by c.mu.

	answered bool
	interims []interim
	between  int  // interim responses so far
	goOn     bool // the content that waits for 100 may go
}

type interim struct {
	status int
	header stack.Header
}

// addInterim is called with mu held.
func (st *clientStream) addInterim(status int) {
	st.between++
	st.interims = append(st.interims, interim{status, st.c.scratch.Clone()})
	if status == 100 {
		st.goOn = true
		st.wr.wake()
	}
}

// answer is called with mu held.
func (st *clientStream) answer(b *block, status int) {
	st.answered, st.goOn = true, true
	st.wr.wake()
	st.resp.Version, st.resp.Status = stack.HTTP2, status
	st.resp.Header, st.c.scratch = st.c.scratch, st.resp.Header
	st.length = b.length
	switch {
	case st.req.Method == "HEAD", status == 204, status == 304:
		st.length = 0
	case st.req.Method == "CONNECT" && status/100 == 2:
		st.resp.Tunnel = true
		st.length = -1 // what it declares is to be ignored (RFC 9110, section 8.6)
	}
}

// news implements role.
func (st *clientStream) news(error) { st.rd.wake() }

// An outgoing is a request on its way to a stream.
type outgoing struct {
	r    *stack.Request
	send sender // with what was at hand of the content, to be sent again if nobody looks at it
	over bool   // the content is closed
	kept []byte // a copy of it, then; borrowed, or nil if there is none
}

// release closes a content that is sent whole. A server of HTTP/1 sees its client leave
// from then on, and not before: it would receive into what the content lies in. In
// HTTP/2 there is no need.
func (o *outgoing) release() {
	if o.over || o.r.Version == stack.HTTP2 || !o.send.last() {
		return
	}
	if n := len(o.send.chunk); n > 0 {
		o.kept = append(codec.Borrow(n), o.send.chunk...)
		o.send.chunk = o.kept
	}
	o.over = true
	_ = o.r.Body.Close(nil)
}

// answered closes a content that was sent whole with a trailer, which release leaves
// until nothing need be sent again.
func (o *outgoing) answered(st *clientStream) {
	if st.whole && !o.over && o.r.Version != stack.HTTP2 {
		_ = o.r.Body.Close(nil)
	}
	o.done()
}

// done gives back what is kept.
func (o *outgoing) done() {
	if o.kept != nil {
		codec.Return(o.kept)
		o.kept = nil
	}
}

// failed makes err what Do returns. A request whose content was closed gets it back, for
// those who may send it elsewhere.
func (o *outgoing) failed(err error) error {
	switch {
	case o.over:
		o.r.Body = stack.Bytes(bytes.Clone(o.kept))
	case o.send.spent:
		err = codec.Spent(err)
	}
	o.done()
	return err
}

// prepare looks at r, and takes what is at hand of its content.
func (o *outgoing) prepare(ctx context.Context, r *stack.Request) error {
	if err := checkHead(r); err != nil {
		return err
	}
	length, err := codec.DeclaredLength(&r.Header)
	if err != nil {
		return err
	}
	if size, known := r.Body.Size(); known && length < 0 && size > 0 {
		length = size
	}
	o.r, o.send = r, sender{body: r.Body, left: length}
	if waitsFor100(r) || !r.Body.AtHand() {
		return nil
	}
	return o.send.pull(ctx)
}

// waitsFor100 reports whether r's content is to be sent only once it is asked for.
func waitsFor100(r *stack.Request) bool { return r.Header.Has("expect") && r.Method != "CONNECT" }

// checkHead looks at what goes into pseudo-fields: not all of it has come by a parser
// of HTTP/2.
func checkHead(r *stack.Request) error {
	if r.Method == "" || !codec.All(r.Method, codec.Token) || !codec.All(r.Scheme, codec.Token) ||
		!codec.All(r.Authority, codec.Target) || !codec.All(r.Path, codec.Target) {
		return fmt.Errorf("request head cannot be written: %s %s %s", codec.Quoted(r.Method), codec.Quoted(r.Authority), codec.Quoted(r.Path))
	}
	return checkFields(&r.Header)
}

// begin sends o on a stream of cl's, with what is at hand. It returns nil if cl can
// take no stream.
func (cl *client) begin(o *outgoing) *clientStream {
	c := cl.conn
	c.mu.Lock()
	defer c.unlock()
	if !c.usable() {
		return nil
	}
	if c.newest == 0 {
		c.newest = 1
	} else {
		c.newest += 2
	}
	st := cl.newStream()
	st.start(c, c.newest)
	st.req, st.send = o.r, o.send
	st.answered, st.goOn, st.between = false, false, 0
	st.send.st = &st.stream
	st.writeHead()
	_, _ = st.send.push() // an error is the stream's too
	st.whole = st.sendEnd
	return st
}

// newStream is called with mu held.
func (cl *client) newStream() *clientStream {
	if n := len(cl.free); n > 0 {
		st := cl.free[n-1]
		cl.free = cl.free[:n-1]
		return st
	}
	st := &clientStream{}
	st.stream = newStream(st)
	return st
}

// recycle is called with mu held, when nobody uses st any more.
func (cl *client) recycle(st *clientStream) {
	st.resp.Reset()
	st.req, st.pump, st.interims, st.send = nil, nil, nil, sender{}
	if len(cl.free) < maxFree {
		cl.free = append(cl.free, st)
	}
}

// writeHead is called with mu held.
func (st *clientStream) writeHead() {
	c, r := st.c, st.req
	guard.Point("http2 request written")
	end := st.send.end && len(st.send.chunk) == 0 && st.send.last()
	mark := c.beginBlock()
	c.enc.field(":method", r.Method)
	if r.Method != "CONNECT" {
		c.enc.field(":scheme", schemeOf(r))
		c.enc.field(":path", pathOf(r))
	}
	if r.Authority != "" {
		c.enc.field(":authority", r.Authority)
	}
	c.enc.fields(&r.Header, ofHop)
	c.endBlock(&st.stream, mark, end)
	if end {
		st.endSend()
	}
}

func schemeOf(r *stack.Request) string {
	if r.Scheme == "" {
		return "http"
	}
	return strings.ToLower(r.Scheme)
}

// pathOf returns what goes as :path, which is never empty.
func pathOf(r *stack.Request) string {
	switch {
	case r.Path == "" && r.Method == "OPTIONS":
		return "*"
	case r.Path == "":
		return "/"
	case r.Path[0] == '?':
		return "/" + r.Path
	default:
		return r.Path
	}
}

// await waits for the response's head, and sends the content meanwhile.
func (st *clientStream) await(ctx context.Context) (*stack.Response, error) {
	if !st.whole {
		st.startPump()
	}
	for {
		answered, err := st.hear(ctx)
		if err != nil {
			return nil, err
		}
		if answered {
			st.resp.Body = st
			return &st.resp, nil
		}
	}
}

// listen waits for news, and returns it.
func (st *clientStream) listen(ctx context.Context) (interims []interim, answered, pumped bool, lost, err error) {
	c := st.c
	c.mu.Lock()
	defer c.unlock()
	err = c.until(ctx, &st.rd, st.hasNews)
	interims, st.interims = st.interims, nil
	pumped = st.answered && st.pump != nil && st.pump.over && !st.pump.pulled
	return interims, st.answered, pumped, st.recvErr, err
}

// hear waits for news, and passes interim responses on. It reports whether the final
// one has come.
func (st *clientStream) hear(ctx context.Context) (answered bool, err error) {
	interims, answered, pumped, lost, err := st.listen(ctx)
	if pumped && st.req.Version != stack.HTTP2 {
		_ = st.req.Body.Close(nil)
	}
	if st.req.Interim != nil {
		for i := range interims {
			st.req.Interim(interims[i].status, &interims[i].header)
		}
	}
	if err == nil && lost != nil && !answered {
		err = st.lost(lost)
	}
	if answered {
		err = nil
	}
	return answered, err
}

// hasNews is called with mu held.
func (st *clientStream) hasNews() bool {
	return st.answered || st.recvErr != nil || len(st.interims) > 0
}

// lost says where, and whether a request whose connection was lost may be sent again.
func (st *clientStream) lost(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrNoAnswer
	}
	return fmt.Errorf("server %s: %w", st.c.nc.RemoteAddr(), err)
}

// Size implements stack.Body.
func (st *clientStream) Size() (int64, bool) { return max(st.length, 0), st.length >= 0 }

// Next implements stack.Body.
func (st *clientStream) Next(ctx context.Context) ([]byte, error) {
	chunk, err := st.stream.Next(ctx)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("server %s: %w", st.c.nc.RemoteAddr(), ErrTruncated)
	}
	return chunk, err
}

// Close implements stack.Body: it ends the exchange.
func (st *clientStream) Close(cause error) error {
	if st.req == nil {
		return nil
	}
	body := st.req.Body
	st.end(cause)
	return body.Close(nil)
}

// end ends the exchange on whichever side it is not over, and the pump with it. It
// reports whether something was taken of the content beyond what was at hand.
func (st *clientStream) end(cause error) (pulled bool) {
	if cause == nil {
		cause = errOver
	}
	c := st.c
	c.mu.Lock()
	defer c.unlock()
	st.closeRecv()
	if !st.recvEnd && st.recvErr == nil || !st.sendEnd && st.sendErr == nil {
		c.reset(&st.stream, codeOf(cause, stack.Cancel))
		st.fail(cause)
	}
	if st.pump != nil {
		c.outside(func() { pulled = st.pump.stop() })
	}
	c.client.recycle(st)
	return pulled
}
