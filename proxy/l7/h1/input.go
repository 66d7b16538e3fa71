package h1

import (
	"io"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A lateReader is a connection that waits without a buffer.
type lateReader interface {
	ReadLate(get func() []byte, put func([]byte)) (buf []byte, n int, err error)
}

// An input is what was received on a connection and not yet used. One goroutine
// at a time uses it.
type input struct {
	c      *stack.Conn
	late   lateReader // c's, or nil
	buf    []byte     // borrowed; nil while idle
	r, w   int        // buf[r:w] is unread
	server bool       // requests come in, and empty lines ahead of them are passed over
	blank  int        // how many have been, since the last head
	before func()     // called before each wait; may be nil
	parser parser
}

func newInput(c *stack.Conn) input {
	late, _ := c.Conn.(lateReader)
	return input{c: c, late: late}
}

func (in *input) unread() []byte { return in.buf[in.r:in.w] }

// idle gives the buffer back, if there is nothing in it.
func (in *input) idle() {
	if in.buf != nil && in.r == in.w {
		codec.Return(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// room makes sure that something can be received, in a buffer of that size if a
// new one has to be had. What is unread may move.
func (in *input) room(size int) {
	switch {
	case in.buf == nil:
		in.buf = borrow(size)
	case in.r == in.w:
		in.r, in.w = 0, 0
		if len(in.buf) < size {
			codec.Return(in.buf)
			in.buf = borrow(size)
		}
	case in.w < len(in.buf):
	case in.r > 0:
		in.w = copy(in.buf, in.unread())
		in.r = 0
	default:
		grown := borrow(max(size, 2*len(in.buf)))
		in.w = copy(grown, in.buf)
		codec.Return(in.buf)
		in.buf = grown
	}
}

// borrow returns a buffer of at least that size, and all of it. getHead is one for
// those who take functions.
func borrow(size int) []byte {
	p := codec.Borrow(size)
	return p[:cap(p)]
}

func getHead() []byte { return borrow(codec.Head) }

// fill receives something, at least a byte.
func (in *input) fill(size int) error {
	if in.before != nil {
		in.before()
	}
	in.room(size)
	n, err := in.c.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// waitFirst is fill for a connection from which nothing is expected soon: it waits
// without a buffer if the connection can, and nothing is unread.
func (in *input) waitFirst() error {
	in.idle()
	if in.late == nil || in.buf != nil || in.c.Unread() {
		return in.fill(codec.Head)
	}
	if in.before != nil {
		in.before()
	}
	buf, n, err := in.late.ReadLate(getHead, codec.Return)
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
	in.c.CountRead(n)
	in.buf, in.r, in.w = buf, 0, n
	return nil
}

// head returns the next head, of at most limit bytes. A head that has not come
// whole with its first bytes must do so within the time given. The bytes are
// valid, and may be changed, until the next fill.
func (in *input) head(limit int, within time.Duration) ([]byte, error) {
	timed := false
	for seen := 0; ; {
		if err := in.skipEmptyLines(); err != nil {
			return nil, err
		}
		end, err := headEnd(in.unread(), seen)
		if end > limit || end == 0 && in.w-in.r > limit {
			return nil, tooLarge("header of more than %d bytes", limit)
		}
		if end > 0 || err != nil {
			if timed {
				_ = in.c.SetReadDeadline(time.Time{})
			}
			head := in.buf[in.r : in.r+end]
			in.r += end
			in.blank = 0
			return head, err
		}
		if !timed && within > 0 {
			timed = true
			_ = in.c.SetReadDeadline(time.Now().Add(within))
		}
		seen = in.w - in.r
		if err := in.fill(codec.Head); err != nil {
			return nil, err
		}
	}
}

// maxEmptyLines may come ahead of a head (RFC 9112, section 2.2).
const maxEmptyLines = 4

// skipEmptyLines passes over the CRLFs that some clients send after a body.
func (in *input) skipEmptyLines() error {
	for in.server && in.w-in.r >= 2 && in.buf[in.r] == '\r' && in.buf[in.r+1] == '\n' {
		if in.blank++; in.blank > maxEmptyLines {
			return malformed("more than %d empty lines instead of a message", maxEmptyLines)
		}
		in.r += 2
	}
	return nil
}
