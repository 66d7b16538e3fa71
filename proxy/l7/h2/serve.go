package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Serve answers the requests that come on c, by prior knowledge, with svc, and
// closes c before it returns. Requests that HTTP/2 does not allow it resets itself.
// An error of svc's resets its stream, with the code that is in it. So does a panic, with
// INTERNAL_ERROR, unless the stream can still be answered 500; one in the codec costs the
// connection, whose other streams are reset, and is told to Params.Guard.
//
// When ctx is done it asks the client to open no more streams, and returns when
// those that there are have ended; a request's own context does not end with ctx.
//
// It receives on the caller's goroutine; each stream runs on one of the Scheduler's.
// It returns nil when the connection ended between two requests, and else why.
func Serve(ctx context.Context, c *stack.Conn, svc stack.Service, p Params) error {
	s := &server{svc: svc, ended: newWaiter()}
	s.conn = newConn(c, &p)
	s.conn.server = s
	c.CloseClient = s.drain
	stop := func() bool { return true }
	s.greeted = func() { // not before: SETTINGS come first
		stop = context.AfterFunc(ctx, func() { s.conn.guarded(stageTimer, s.drain) })
		c.HeldBy(s)
	}
	defer func() { stop() }()
	alive := startKeepAlive(s.conn)
	defer alive.stop()
	err := s.conn.receive(stageReader)
	err = s.finish(err)
	c.Failed(err)
	return err
}

// A server is one connection's side of Serve.
type server struct {
	conn *conn
	svc  stack.Service
	date codec.Date

	greeted func() // called once SETTINGS are on their way
	ended   waiter // for Serve, which waits for the last stream

	// What follows is guarded by conn.mu.

	running int // streams that have a goroutine
	free    []*serverStream
	drained drainState
}

// A drainState is how far a graceful end has come (RFC 9113, section 6.8).
type drainState uint8

const (
	serving drainState = iota
	asked              // the client was told to open no more streams; some may be under way
	leaving            // it was told which was the last
)

// readPreface checks what every client sends first.
func (s *server) readPreface() error {
	in := &s.conn.in
	for {
		n := min(in.w-in.r, len(preface))
		if string(in.buf[in.r:in.r+n]) != preface[:n] {
			return &connError{stack.ProtocolError, "client does not begin as HTTP/2"}
		}
		if n == len(preface) {
			in.r += n
			return nil
		}
		if err := in.fill(s.conn.params.HeadTime); err != nil {
			return err
		}
	}
}

// finish ends the connection that err has ended.
func (s *server) finish(err error) error {
	c := s.conn
	err = s.why(err)
	c.end(errors.Join(codec.ErrClientGone, err))
	s.await()
	_ = c.params.Guard.Do(stageReader, func() { c.farewell(err) })
	c.close()
	return err
}

// await waits for the last stream.
func (s *server) await() {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	_ = c.until(context.Background(), &s.ended, func() bool { return s.running == 0 })
}

// why makes of what ended the reader what ended the connection; nil for an end
// that is nobody's fault.
func (s *server) why(err error) error {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	idle := s.running == 0
	var ce *connError
	switch {
	case c.err != nil:
		return c.err
	case errors.As(err, &ce):
		return err
	case errors.Is(err, io.EOF) && idle && !c.block.open:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && c.in.stopped.Load(): // the work of a stream that is over may run on
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &connError{stack.SettingsTimeout, "header block did not come in time"}
	default:
		return fmt.Errorf("client's connection: %w", err)
	}
}

// InHand implements stack.Holder.
func (s *server) InHand() (stack.Kind, int) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return stack.HTTP2Work, s.running
}

// Leave implements stack.Holder.
func (s *server) Leave() { s.drain() }

// look asks the client to leave, if clients are to.
func (s *server) look() {
	if leaving := s.conn.params.Leaving; leaving != nil && leaving() {
		s.drain()
	}
}

// drain asks the client to open no more streams here. The PING's answer says that it
// has heard so: what it began before has come by then.
func (s *server) drain() {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	if s.drained != serving || c.err != nil {
		return
	}
	s.drained = asked
	b := appendGoAway(c.room(64), lastStream, stack.NoError, "")
	c.buf = appendPing(b, goAwayPing, false)
	time.AfterFunc(max(c.params.DrainTime, time.Millisecond), func() { c.guarded(stageTimer, s.unanswered) })
}

// unanswered is drain's last step with a client that does not answer.
func (s *server) unanswered() {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.goAway()
}

// goAway names the last stream. The caller holds mu.
func (s *server) goAway() {
	c := s.conn
	if s.drained != asked || c.err != nil {
		return
	}
	s.drained = leaving
	c.buf = appendGoAway(c.room(64), c.newest, stack.NoError, "")
	s.freed()
}

// freed is told that there is one stream less. The caller holds mu.
func (s *server) freed() {
	if s.drained == leaving && s.conn.streams.count == 0 {
		s.conn.in.stop()
	}
}

// open finds what a header block is for. The caller holds mu.
func (s *server) open(b *block, st *stream) error {
	c := s.conn
	switch {
	case st != nil && !st.recvEnd && st.recvErr == nil:
		b.trailers(c)
	case st != nil && st.recvEnd:
		return c.failStream(st, stack.StreamClosed, "HEADERS after the stream's end")
	case st != nil, b.id <= c.newest && c.wasLeft(b.id):
		return nil // of a stream that was left
	case b.id%2 == 0:
		return &connError{stack.ProtocolError, "client's stream has an even number"}
	case b.id <= c.newest:
		return &connError{stack.StreamClosed, "HEADERS of a stream that is over, or was passed over"}
	case s.drained == leaving:
		c.passed = max(c.passed, b.id) // the client was told; what else it sends there is under way
	default:
		c.newest = b.id
		return s.admit(b)
	}
	return nil
}

// admit makes room for a new stream, or refuses it. Streams that were reset count
// for as long as their work runs. The caller holds mu.
func (s *server) admit(b *block) error {
	c := s.conn
	if most := int(c.params.MaxStreams); most > 0 && (c.streams.count >= most || s.running >= most) {
		return c.resetUnknown(b.id, stack.RefusedStream)
	}
	b.request = s.newStream()
	b.to = &b.request.req.Header
	b.kind = requestHead
	return nil
}

// newStream is called with mu held.
func (s *server) newStream() *serverStream {
	if n := len(s.free); n > 0 {
		st := s.free[n-1]
		s.free = s.free[:n-1]
		return st
	}
	st := &serverStream{server: s, x: &stack.Exchange{}}
	st.stream = newStream(st)
	st.interimFunc = st.interim
	return st
}

// maxFree is how many stream objects a connection keeps. They stay with it: its
// reader may still hold one that is over.
const maxFree = 1024

// recycle is called with mu held.
func (s *server) recycle(st *serverStream) {
	if st.req.Reset(); len(s.free) < maxFree {
		s.free = append(s.free, st)
	}
}

// request begins the stream whose head has come.
func (s *server) request(b *block) error {
	c, st := s.conn, b.request
	why := b.badRequest()
	switch {
	case b.large:
		s.recycle(st)
		return s.refuseHead(b)
	case why != "":
		s.recycle(st)
		return c.resetUnknown(b.id, stack.ProtocolError)
	}
	st.begin(b)
	s.running++
	c.touch(&st.stream)
	return nil
}

// refuseHead answers 431. The caller holds mu.
func (s *server) refuseHead(b *block) error {
	c := s.conn
	if !c.refusals.spend() {
		return calm("too many streams had to be refused")
	}
	mark := c.beginBlock()
	c.enc.field(":status", "431")
	c.endBlock(&stream{id: b.id}, mark, true)
	if !b.end {
		c.buf = appendReset(c.room(frameHeader+4), b.id, stack.NoError)
		c.leave(b.id)
	}
	return nil
}

// A serverStream is one request and its response.
type serverStream struct {
	stream
	server *server
	req    stack.Request
	x      *stack.Exchange
	send   sender

	over    bool          // finish has begun
	started bool          // the connection's reader's own, as what follows
	began   time.Duration // when its head came
	expects bool          // 100-continue, and it was not sent

	interimFunc func(int, *stack.Header) // interim, as a value made once
}

// begin is called with mu held.
func (st *serverStream) begin(b *block) {
	c := st.server.conn
	st.start(c, b.id)
	st.length = b.length
	if b.end {
		st.endRecv()
		st.length = 0
	}
	st.over = false
	st.started, st.began, st.expects = false, c.now, b.expects && !b.end
	r := &st.req
	r.Version, r.Conn, r.Body, r.Interim = stack.HTTP2, c.nc, st, st.interimFunc
	r.Method, r.Scheme, r.Authority, r.Path = b.pseudo.method, b.pseudo.scheme, b.pseudo.authority, b.pseudo.path
	if r.Method == "CONNECT" {
		r.Form = stack.AuthorityForm
	} else if r.Path == "*" {
		r.Form = stack.AsteriskForm
	}
	if !st.x.Begin() {
		st.x = &stack.Exchange{}
	}
	st.x.Came(c.now)
}

// news implements role.
func (st *serverStream) news(lost error) {
	switch {
	case !st.started && lost != nil:
		st.started = true
		st.finish(lost)
		return
	case !st.started:
		st.started = true
		st.c.sched.Workers.Start(st)
		return
	case lost != nil:
		st.x.End(lost)
	}
	st.rd.wake()
}

// Run implements codec.Job.
func (st *serverStream) Run() {
	defer st.caught()
	resp, err := st.server.svc(st.x, &st.req)
	if err == nil {
		err = st.respond(resp)
	}
	st.finish(err)
}

// Size implements stack.Body.
func (st *serverStream) Size() (int64, bool) { return max(st.length, 0), st.length >= 0 }

// Next implements stack.Body: the first asks the client for what it holds back.
func (st *serverStream) Next(ctx context.Context) ([]byte, error) {
	if st.expects {
		st.expects = false
		st.interim(100, nil)
	}
	return st.stream.Next(ctx)
}

// Close implements stack.Body.
func (st *serverStream) Close(error) error {
	st.c.mu.Lock()
	defer st.c.unlock()
	st.closeRecv()
	return nil
}

// interim sends a 1xx response, if it is not too late for one.
func (st *serverStream) interim(status int, h *stack.Header) {
	if status < 100 || status > 199 || status == 101 {
		return
	}
	c := st.c
	c.mu.Lock()
	defer c.unlock()
	if st.send.st != nil || st.sendErr != nil || h != nil && checkFields(h) != nil {
		return
	}
	mark := c.beginBlock()
	c.enc.field(":status", strconv.Itoa(status))
	if h != nil {
		c.enc.fields(h, ofHop)
	}
	c.endBlock(&st.stream, mark, false)
}

// respond sends the response, at the pace at which the client takes it and the
// server gives it.
func (st *serverStream) respond(resp *stack.Response) error {
	err := st.sendResponse(resp)
	_ = resp.Body.Close(err)
	return err
}

func (st *serverStream) sendResponse(resp *stack.Response) error {
	length, err := codec.DeclaredLength(&resp.Header)
	if err == nil {
		err = checkFields(&resp.Header)
	}
	if err != nil {
		return err
	}
	bodiless := st.req.Method == "HEAD" || resp.Status == 204 || resp.Status == 304
	if bodiless {
		length = -1
	}
	var send sender
	send.start(&st.stream, resp.Body, length)
	if resp.Body.AtHand() {
		if err := send.pull(st.x); err != nil {
			return err
		}
	}
	if over, err := st.sendHead(resp, send, bodiless); over || err != nil {
		return err
	}
	return st.send.run(st.x)
}

// sendHead sends the head, with what is at hand of the content. It reports whether
// that was all.
func (st *serverStream) sendHead(resp *stack.Response, send sender, bodiless bool) (over bool, err error) {
	c := st.c
	c.mu.Lock()
	defer c.unlock()
	st.send = send
	if err = c.until(st.x, &st.wr, st.mayAnswer); err == nil {
		err = st.sendErr
	}
	if err != nil {
		return false, err
	}
	st.writeHead(resp, bodiless || send.end && len(send.chunk) == 0 && send.last())
	if !bodiless {
		_, err = st.send.push()
	}
	return st.sendEnd, err
}

// mayAnswer reports whether there is room for a head: a client that does not read is
// not written any. The caller holds mu.
func (st *serverStream) mayAnswer() bool {
	if st.sendErr != nil || st.c.queued() < st.c.params.sendBuffer() {
		return true
	}
	st.c.starve(&st.stream)
	return false
}

// writeHead is called with mu held.
func (st *serverStream) writeHead(resp *stack.Response, end bool) {
	c := st.c
	guard.Point("http2 response written")
	mark := c.beginBlock()
	c.enc.field(":status", statusText(resp.Status))
	c.enc.fields(&resp.Header, ofHop)
	if !resp.Header.Has("date") {
		c.enc.field("date", st.server.date.At(st.answeredAt(resp)))
	}
	c.endBlock(&st.stream, mark, end)
	if end {
		st.endSend()
	}
}

// answeredAt returns the second in which resp came: with a batch just now, if it came
// by HTTP/2, so that no clock need be read for it.
func (st *serverStream) answeredAt(resp *stack.Response) int64 {
	if resp.Version == stack.HTTP2 {
		return st.c.sched.second.Load()
	}
	return time.Now().Unix()
}

// statusText returns :status, of the usual ones without an allocation.
func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 204:
		return "204"
	case 404:
		return "404"
	default:
		return strconv.Itoa(status)
	}
}

// finish ends the exchange, for err or well, on whichever side it is not over.
func (st *serverStream) finish(err error) {
	st.over = true
	finished := false
	defer func() {
		if !finished {
			st.unfinished()
		}
	}()
	over := err
	if over == nil {
		over = errOver
	}
	st.x.End(over)
	if st.req.Body != st { // a layer has put another in its place
		_ = st.req.Body.Close(err)
	}
	c := st.c
	c.mu.Lock()
	defer c.unlock()
	st.closeRecv()
	if err == nil {
		c.resets.earn(1)
	}
	switch {
	case !st.sendEnd && st.sendErr == nil:
		c.reset(&st.stream, codeOf(err, stack.InternalError))
		st.fail(over)
	case !st.recvEnd && st.recvErr == nil: // it need send no more (RFC 9113, section 8.1)
		c.reset(&st.stream, stack.NoError)
		st.fail(over)
	}
	st.send = sender{}
	st.server.running--
	st.server.recycle(st)
	st.server.ended.wake()
	finished = true
}
