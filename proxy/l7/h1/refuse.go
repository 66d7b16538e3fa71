package h1

import (
	"errors"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
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
	s.tell(bad.Status, bad.Reason)
	return err
}

// tell answers by itself, and ends the connection.
func (s *server) tell(status int, reason string) {
	s.closeAfter()
	resp := &stack.Response{Status: status, Body: stack.Empty()}
	if s.params.Reasons {
		resp.Header.Add("l5d-proxy-error", reason)
	}
	if s.req.Version != stack.HTTP10 {
		s.req.Version = stack.HTTP11
	}
	if s.sendAlone(resp) == nil {
		s.linger()
	}
}

// sendAlone writes a response that has no content.
func (s *server) sendAlone(resp *stack.Response) error {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if err := s.writeHead(resp); err != nil {
		return err
	}
	return s.out.flush()
}

// linger lets the client read its answers before the connection is closed: what is
// unread at the close resets it, and what the client has not read yet is lost with
// that. It ends when the client does, or pauses, or has been sending for too long.
func (s *server) linger() {
	_ = s.c.CloseWrite()
	for end := time.Now().Add(lingers * s.params.DrainTime); ; {
		pause := time.Now().Add(s.params.DrainTime)
		if pause.After(end) {
			return
		}
		_ = s.c.SetReadDeadline(pause)
		s.in.r = s.in.w
		if s.in.fill(codec.Small) != nil { // it is thrown away
			return
		}
	}
}

// lingers is for how many Params.DrainTimes a client that goes on sending is
// listened to.
const lingers = 5

// reset makes the connection's close a reset, which no peer can take for a
// regular end.
func reset(c *stack.Conn) {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
}
