package h2

import (
	"context"
	"errors"
	"io"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// errLength fails a message whose content is not as long as its head says.
var errLength = errors.New("content does not have the length that its head declares")

// A sender sends one body on its stream. It can stop when nothing is at hand, and
// go on elsewhere.
type sender struct {
	st    *stream
	body  stack.Body
	chunk []byte // had from body, and not yet sent
	end   bool   // body has ended with chunk
	spent bool   // something of body is gone from it
	left  int64  // of a declared length; -1 if there is none
}

func (s *sender) start(st *stream, body stack.Body, length int64) {
	*s = sender{st: st, body: body, left: length}
}

// pull takes the next chunk from the body.
func (s *sender) pull(ctx context.Context) error {
	chunk, err := s.body.Next(ctx)
	s.end = err == io.EOF //nolint:errorlint // the contract is io.EOF itself
	if err != nil && !s.end {
		return err
	}
	s.chunk = chunk
	s.spent = s.spent || len(chunk) > 0
	if s.left >= 0 {
		if s.left -= int64(len(chunk)); s.left < 0 || s.end && s.left > 0 {
			return errLength
		}
	}
	return nil
}

// last reports whether the stream ends with the chunk in hand, and not with a
// trailer after it.
func (s *sender) last() bool { return s.end && s.body.Trailer().Len() == 0 }

// push sends of the chunk in hand what may be sent now, and the end with it. It
// reports whether that was all. The caller holds mu.
func (s *sender) push() (all bool, err error) {
	st, c := s.st, s.st.c
	for {
		if st.sendErr != nil {
			return false, st.sendErr
		}
		if len(s.chunk) == 0 {
			return true, s.finish()
		}
		n := c.allowed(st, len(s.chunk))
		if n == 0 {
			return false, nil
		}
		c.appendData(st, s.chunk[:n], n == len(s.chunk) && s.last())
		s.chunk = s.chunk[n:]
	}
}

// finish sends the stream's end, if the body has ended and it is not sent. The
// caller holds mu.
func (s *sender) finish() error {
	switch {
	case !s.end || s.st.sendEnd:
		return nil
	case s.last():
		s.st.c.appendData(s.st, nil, true)
		return nil
	default:
		return s.st.trailers(s.body.Trailer())
	}
}

// trailers ends the stream with h. The caller holds mu.
func (st *stream) trailers(h *stack.Header) error {
	if err := checkFields(h); err != nil {
		return err
	}
	c := st.c
	if !anyTrailer(h) {
		c.appendData(st, nil, true)
		return nil
	}
	mark := c.beginBlock()
	c.enc.fields(h, trailerSkips)
	c.endBlock(st, mark, true)
	st.endSend()
	return nil
}

func anyTrailer(h *stack.Header) bool {
	for name := range h.All() {
		if !forbiddenTrailer(name) {
			return true
		}
	}
	return false
}

// run sends the body to its end, at the pace at which it comes and the peer takes it.
func (s *sender) run(ctx context.Context) error {
	for {
		if err := s.pushAll(ctx); err != nil {
			return err
		}
		if s.end {
			return nil
		}
		if err := s.pull(ctx); err != nil {
			return err
		}
	}
}

// pushAll sends the chunk in hand, and waits for the room to do so.
func (s *sender) pushAll(ctx context.Context) error {
	for {
		all, full, err := s.pushSome(ctx)
		if full {
			s.st.c.flushGuarded()
		}
		if all || err != nil {
			return err
		}
	}
}

// pushSome sends what may be sent of the chunk in hand, and waits until more may. It
// reports whether that was all, and whether there is so much that it is to be written.
func (s *sender) pushSome(ctx context.Context) (all, full bool, err error) {
	c := s.st.c
	c.mu.Lock()
	defer c.unlock()
	all, err = s.push()
	if full = len(c.buf) >= flushAt; !all && err == nil && !full {
		c.starve(s.st)
		err = c.until(ctx, &s.st.wr, s.mayPush)
	}
	return all, full, err
}

// mayPush reports whether push would get on. The caller holds mu.
func (s *sender) mayPush() bool {
	if s.st.sendErr != nil || s.st.c.allowed(s.st, len(s.chunk)) > 0 {
		return true
	}
	s.st.c.starve(s.st)
	return false
}
