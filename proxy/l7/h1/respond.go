package h1

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// respond writes the response to the request that framing f belongs to. It
// reports whether another request may follow.
func (s *server) respond(resp *stack.Response, f framing) (more bool, err error) {
	s.asked = false
	if resp.Tunnel {
		return false, s.splice(resp)
	}
	s.out.setBusy(true)
	s.decideClose(resp, f)
	err = s.writeHead(resp)
	if err == nil {
		err = s.writeBody(resp)
	}
	s.watch.stop()
	if err != nil {
		_ = resp.Body.Close(err)
		s.x.End(err)
		s.endRequest(err)
		s.out.drop()
		reset(s.c)
		return false, fmt.Errorf("response: %w", err)
	}
	_ = resp.Body.Close(nil)
	s.out.setBusy(false)
	clean := s.finishRequest()
	s.x.End(errOver)
	if clean && !s.last && !s.ending.Load() { // to leave it has been told, or it will be with the next response
		return true, nil
	}
	if !clean || !s.leaving || s.in.r < s.in.w { // the client may be sending still
		s.out.Flush()
		s.linger()
	}
	return false, nil
}

// decideClose closes the connection after this response if the layers ask for
// it, or if nobody can tell where the next request would begin.
func (s *server) decideClose(resp *stack.Response, f framing) {
	last := resp.Header.Has("connection") && saysClose(&resp.Header)
	waiting := f.expect && !s.continued && !s.body.hasEnded()
	_, known := resp.Body.Size()
	endless := !known && (s.req.Version == stack.HTTP10 || resp.Version == stack.HTTP10)
	if last || waiting || endless || s.body.hasFailed() {
		s.closeAfter()
	}
}

// saysClose reports whether a layer has set "connection: close".
func saysClose(h *stack.Header) bool {
	last := false
	for v := range h.Values("connection") {
		tokens(v, func(t string) { last = last || t == "close" })
	}
	return last
}

// date is one for all connections: its text hangs on the time alone.
var date codec.Date //nolint:gochecknoglobals // a cache of one value

// writeHead appends resp's head.
func (s *server) writeHead(resp *stack.Response) error {
	o := &s.out
	guard.Point("http1 response written")
	o.borrow()
	version := stack.HTTP11
	if s.req.Version == stack.HTTP10 || resp.Version == stack.HTTP10 {
		version = stack.HTTP10
	}
	o.statusLine(version, resp)
	if err := o.fields(&resp.Header, hopField); err != nil {
		return err
	}
	if !resp.Header.Has("date") {
		o.text("date: ")
		o.text(date.At(time.Now().Unix()))
		o.text("\r\n")
	}
	if err := s.frameResponse(resp, version); err != nil {
		return err
	}
	s.last = !s.mayGoOn()
	switch {
	case s.last:
		o.text("connection: close\r\n")
	case version == stack.HTTP10:
		o.text("connection: keep-alive\r\n")
	}
	o.text("\r\n")
	return nil
}

// frameResponse appends the field that delimits resp's content.
func (s *server) frameResponse(resp *stack.Response, version stack.Version) error {
	size, known := resp.Body.Size()
	switch {
	case s.req.Method == "HEAD", resp.Status == 304, resp.Status == 204, resp.Status < 200:
		s.out.kind = noContent
		return nil
	case !known && version == stack.HTTP10 && resp.Header.Has("content-length"):
		return errors.New("content-length on a content of unknown length")
	case !known && version == stack.HTTP10:
		s.out.kind = byEnd
		return nil
	}
	return s.out.frame(&resp.Header, size, known, true)
}

// writeBody writes resp's content, at the pace at which the client takes it and
// the server gives it. What is at hand at the end stays in the buffer if the next
// request is at hand too. The caller holds out.mu.
func (s *server) writeBody(resp *stack.Response) error {
	for {
		if !resp.Body.AtHand() {
			if err := s.out.flush(); err != nil {
				return err
			}
		}
		chunk, err := resp.Body.Next(s.x)
		if werr := s.out.data(chunk); werr != nil {
			return werr
		}
		if err == io.EOF { //nolint:errorlint // the contract is io.EOF itself
			break
		}
		if err != nil {
			return err
		}
	}
	if err := s.out.end(resp.Body.Trailer()); err != nil {
		return err
	}
	s.watch.stop() // it may be receiving
	if s.body.hasEnded() && s.in.r < s.in.w {
		return nil
	}
	runtime.Gosched() // so that the answers that came together leave together, and wake their clients once
	return s.out.flush()
}

// finishRequest reads what is left of the request's content, so that the next
// request can be found. It reports whether it can.
func (s *server) finishRequest() bool {
	b := &s.body
	if s.tunnel != nil && b.err == nil {
		b.finish(io.EOF) // nobody has read of the tunnel that was not to be
	}
	if b.err == nil && s.continued && s.mayGoOn() {
		s.drainRequest()
	}
	s.endRequest(nil)
	return b.hasEnded()
}

// drainRequest reads the rest of the content, if it is short and comes soon.
func (s *server) drainRequest() {
	s.out.Flush()
	b := &s.body
	left := s.params.Drain
	if b.kind == byLength && b.left > int64(left) {
		return
	}
	_ = s.c.SetReadDeadline(time.Now().Add(s.params.DrainTime))
	defer func() { _ = s.c.SetReadDeadline(time.Time{}) }()
	for {
		chunk, err := b.decode()
		if left -= len(chunk); left < 0 {
			return
		}
		if err != nil {
			b.finish(err)
			return
		}
		if len(chunk) == 0 && s.in.fill(codec.Head) != nil {
			return
		}
	}
}

// splice makes the connection a tunnel: the response's content goes to the
// client, while whoever has the request's body carries the other direction.
func (s *server) splice(resp *stack.Response) error {
	s.watch.stop()
	s.closeAfter()
	s.tunnelled.Store(s.tunnel != nil)
	if s.tunnel == nil {
		_ = resp.Body.Close(stack.ErrClosed)
		s.endRequest(stack.ErrClosed)
		reset(s.c)
		return errors.New("a tunnel that the request did not ask for")
	}
	s.out.setBusy(true)
	err := s.out.tunnelHead(resp)
	if err == nil {
		err = s.writeBody(resp)
	}
	if err != nil {
		reset(s.c)
		_ = s.c.Close() // so that the other direction ends too
	} else {
		_ = s.c.CloseWrite()
	}
	<-s.tunnel
	_ = resp.Body.Close(err)
	s.endRequest(err)
	return err
}

// tunnelHead appends the head of a response that makes a tunnel.
func (o *output) tunnelHead(resp *stack.Response) error {
	o.borrow()
	o.statusLine(stack.HTTP11, resp)
	err := o.fields(&resp.Header, hopField)
	if up := resp.Header.Get("upgrade"); up != "" {
		o.text("connection: upgrade\r\n")
		o.field("upgrade", up)
	}
	o.text("\r\n")
	o.kind = byEnd
	return err
}

// hopField reports whether a field is this hop's to write.
func hopField(name string) bool {
	switch name {
	case "connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade":
		return true
	}
	return false
}

func (o *output) statusLine(v stack.Version, resp *stack.Response) {
	o.text(v.String())
	o.text(" ")
	o.buf = strconv.AppendInt(o.buf, int64(resp.Status), 10)
	o.text(" ")
	why := resp.Reason
	if why == "" && resp.Version == 0 || !codec.All(why, codec.Value) {
		why = Reason(resp.Status)
	}
	o.text(why)
	o.text("\r\n")
}
