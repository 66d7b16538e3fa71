package h1

import (
	"errors"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// refuse answers a message that is not HTTP, and returns why.
func (s *server) refuse(err error) error {
	err = ofRequest(err)
	var bad *RequestError
	if !errors.As(err, &bad) {
		return err
	}
	if s.params.Refused != nil {
		s.params.Refused(bad)
	}
	s.closeAfter()
	resp := &stack.Response{Status: bad.Status, Body: stack.Empty()}
	if s.params.Reasons {
		resp.Header.Add("l5d-proxy-error", bad.Reason)
	}
	if s.req.Version != stack.HTTP10 {
		s.req.Version = stack.HTTP11
	}
	s.out.mu.Lock()
	werr := s.writeHead(resp)
	if werr == nil {
		werr = s.out.flush()
	}
	s.out.mu.Unlock()
	if werr == nil {
		s.linger()
	}
	return err
}

// linger lets the client read its answer before the connection is closed: what
// is unread at the close resets it, and the answer may be lost with that.
func (s *server) linger() {
	_ = s.c.CloseWrite()
	_ = s.c.SetReadDeadline(time.Now().Add(s.params.DrainTime))
	for left := s.params.Drain; left > 0; {
		s.in.r = s.in.w
		if s.in.fill(smallBuffer) != nil {
			return
		}
		left -= s.in.w - s.in.r
	}
}

// reset makes the connection's close a reset, which no peer can take for a
// regular end.
func reset(c *stack.Conn) {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
}
