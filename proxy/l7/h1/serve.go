package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/warm"
)

// Serve answers the requests that come on c with svc, one after another, and
// closes c before it returns. Requests that are not HTTP it answers itself. An
// error of svc's cuts the connection: a stack has a layer that leaves none. A panic
// costs the connection too; the client is answered 500 if it still can be.
//
// When ctx is done the next response, or the one in hand, says "connection: close";
// a connection that idles is closed as Params.Quiet says. A request's own context does
// not end with ctx, but with the connection. That the client has left is seen once a
// request has been in hand for Params.ClientWatch.
//
// Requests run on one of Params.Workers while they come, and the caller's goroutine
// waits; without those, on the caller's. It returns nil when the client ended the
// connection between two requests, and else why it ended.
func Serve(ctx context.Context, c *stack.Conn, svc stack.Service, p *Params) error {
	a := newAccepted(c, svc, p)
	defer c.Close()
	stop := context.AfterFunc(ctx, a.drain)
	defer stop()
	if a.wait == nil {
		return a.here()
	}
	return a.serve()
}

// A server serves a connection while there are requests, one after another, and is
// then free for another connection.
type server struct {
	*accepted
	in    input
	out   output
	body  body
	req   stack.Request
	x     *stack.Exchange
	watch watcher
	below interface{ Warm() } // what the connection is made of, or nil
	ran   chan outcome        // of Run

	interimFunc func(int, *stack.Header) // interim, as a value made once

	leaving   bool          // the client said that the request in hand is its last
	last      bool          // the client was told that the response in hand is its last
	asked     bool          // svc has the request, and nothing of its answer is sent
	continued bool          // 100 has been sent, or need not be; guarded by out.mu
	tunnel    chan struct{} // closed when the request's direction is over; nil if there is no tunnel to be
	parked    bool          // the connection has idled for a while
	left      bool          // it has ended between two requests
}

// servers are those that serve nobody: like buffers, they carry nothing from one
// connection to another but their room.
var servers sync.Pool //nolint:gochecknoglobals // a pool of empty servers is no state

func takeServer() *server {
	if s, _ := servers.Get().(*server); s != nil {
		return s
	}
	s := &server{ran: make(chan outcome, 1)}
	s.in.server = true
	s.interimFunc = s.interim
	s.in.before = s.out.Flush
	s.x = &stack.Exchange{Flush: s.in.before, Warm: s.fetch}
	s.body.wrap = ofRequest
	s.body.closed = s.bodyClosed
	s.watch.init(s)
	return s
}

func (s *server) attach(a *accepted) {
	s.accepted = a
	s.in.c, s.in.blank = a.c, a.blank
	s.in.late, _ = a.c.Conn.(lateReader)
	s.below, _ = a.c.Conn.(interface{ Warm() })
	s.out.c = a.c
}

// detach makes s free for another connection. Nothing is in hand, nor in its
// buffers.
func (s *server) detach() {
	s.blank, s.known = s.in.blank, true
	s.in.c, s.in.late, s.out.c, s.body.stop.c, s.below = nil, nil, nil, nil, nil
	s.out.sent, s.out.err = 0, nil
	s.req.Reset()
	s.body.trailer.Reset()
	s.asked, s.tunnel, s.parked, s.left = false, nil, false, false
	s.accepted = nil
}

// fetch has the processor fetch what the answer needs.
func (s *server) fetch() {
	if s.below != nil {
		warm.Object(s)
		warm.Object(s.c)
		s.below.Warm()
	}
}

// close reports whether nobody else has to do with s any more.
func (s *server) close() bool {
	s.watch.stop()
	s.closeAfter() // so that a look that is under way is the last
	s.x.End(errOver)
	s.out.Flush()
	_ = s.c.Close()
	s.in.r = s.in.w
	s.in.idle()
	s.out.drop()
	return s.watch.end()
}

// mayGoOn reports whether another request may follow the one in hand.
func (s *server) mayGoOn() bool {
	return !s.ending.Load() && !s.draining.Load() && !s.params.leaving()
}

// exchanges answers requests until the connection ends, or is to be parked.
func (s *server) exchanges() error {
	for {
		if more, err := s.exchange(); !more || err != nil {
			return err
		}
	}
}

// exchange answers one request. It reports whether another may follow.
func (s *server) exchange() (more bool, err error) {
	head, err := s.nextHead()
	if err != nil || head == nil {
		return false, err
	}
	s.begin()
	f, err := s.parse(head)
	if err != nil {
		return false, s.refuse(err)
	}
	s.body.start(&s.in, s.params, f)
	if s.body.hasEnded() {
		s.in.idle() // the answer may take long, and the buffer serves others meanwhile
	}
	s.body.begin = s.sendContinue(f)
	s.req.Body = &s.body
	s.watch.start()
	s.asked = true
	resp, err := s.svc(s.x, &s.req)
	if err != nil {
		s.x.End(err)
		s.endRequest(err)
		reset(s.c)
		return false, err
	}
	return s.respond(resp, f)
}

// nextHead waits for a request. A nil head without an error is the connection's
// regular end.
func (s *server) nextHead() ([]byte, error) {
	err := s.in.skipEmptyLines()
	for err == nil && s.in.r == s.in.w {
		if more, err := s.waitIdle(); !more {
			return nil, err
		}
		err = s.in.skipEmptyLines()
	}
	var head []byte
	if err == nil {
		head, err = s.in.head(s.params.HeadBytes, s.params.HeadTime)
	}
	if err == nil {
		return head, nil
	}
	return nil, s.badHead(err)
}

// badHead answers a head that has not come, or not as one.
func (s *server) badHead(err error) error {
	var m *malformation
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = &malformation{408, "request head did not come in time"}
	case errors.As(err, &m):
	case errors.Is(err, io.EOF):
		return fmt.Errorf("read request head: %w", io.ErrUnexpectedEOF)
	default:
		return fmt.Errorf("read request head: %w", err)
	}
	s.begin()
	return s.refuse(err)
}

// waitIdle waits between two requests. It reports whether there is another.
func (s *server) waitIdle() (more bool, err error) {
	s.watch.run() // which has it parked after a while; not below, where that may have come already
	if !s.beginIdle() {
		s.left = true
		return false, nil
	}
	s.req.Reset() // its strings are parts of a head, which would be kept with it
	s.out.Flush()
	runtime.Gosched() // while others are served the next request may come, and needs no waiting for
	err = s.in.waitFirst()
	kicked := s.endIdle()
	if err == nil {
		s.came = false
	}
	more, err = s.idled(err, kicked)
	switch {
	case more || err != nil:
	case kicked && s.out.err != nil: // the client is not to get the next answer without this one
		return false, fmt.Errorf("response: %w", s.out.err)
	case kicked:
		s.parked = true
	default:
		s.left = true
	}
	return more, err
}

func (s *server) begin() {
	if !s.x.Begin() {
		s.x = &stack.Exchange{Flush: s.x.Flush, Warm: s.x.Warm}
	}
	if s.req.Conn != nil { // else it was reset when the connection idled
		s.req.Reset()
	}
	s.req.Conn = s.c
	s.req.Interim = s.interimFunc
	s.asked, s.continued, s.tunnel = false, false, nil
}

func (s *server) parse(head []byte) (framing, error) {
	guard.Point("http1 request received")
	if err := s.in.parser.request(head, &s.req, s.params.Fields); err != nil {
		return framing{}, err
	}
	f, err := requestFraming(&s.req)
	if err != nil {
		return f, err
	}
	if s.leaving = f.close || s.req.Version == stack.HTTP10 && !f.keepAlive; s.leaving {
		s.closeAfter()
	}
	if s.req.WantsTunnel() {
		s.tunnel = make(chan struct{})
		f.kind, f.expect = byEnd, false
	}
	return f, nil
}

// sendContinue returns what answers "expect: 100-continue" when the body is
// asked for.
func (s *server) sendContinue(f framing) func() {
	if !f.expect || f.kind == noContent {
		s.continued = true
		return nil
	}
	return func() { s.interim(100, nil) }
}

// interim sends a 1xx response, if the client can take one.
func (s *server) interim(status int, h *stack.Header) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if s.out.busy || s.req.Version != stack.HTTP11 || status == 101 || status < 100 || status > 199 {
		return
	}
	if status == 100 {
		if s.continued {
			return
		}
		s.continued = true
	}
	s.out.borrow()
	s.out.text("HTTP/1.1 ")
	s.out.buf = strconv.AppendInt(s.out.buf, int64(status), 10)
	s.out.text(" " + Reason(status) + "\r\n")
	if h != nil {
		_ = s.out.fields(h, hopField)
	}
	s.out.text("\r\n")
	_ = s.out.flush()
}

// endRequest ends the request's body under whoever still has it: what observes it,
// too, is to learn of the end.
func (s *server) endRequest(cause error) {
	_ = s.req.Body.Close(cause)
	_ = s.body.Close(cause) // a layer may have put another in its place
}

func (s *server) bodyClosed(error) {
	if s.tunnel != nil {
		close(s.tunnel)
	}
}
