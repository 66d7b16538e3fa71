package h2

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A lateReader is a connection that waits without a buffer.
type lateReader interface {
	ReadLate(get func() []byte, put func([]byte)) (buf []byte, n int, err error)
}

// An input is what was received on a connection and not yet handled. Its reader
// alone uses it.
type input struct {
	c       *stack.Conn
	late    lateReader // c's, or nil
	buf     []byte     // borrowed; nil while there is nothing
	r, w    int        // buf[r:w] is unread
	full    bool       // the last read filled its buffer: more is coming
	timed   bool       // a deadline is set
	greeted bool       // a first frame has come
	stopped atomic.Bool
}

// init makes in the input of c.
func (in *input) init(c *stack.Conn) {
	in.c = c
	in.late, _ = c.Conn.(lateReader)
}

// stop makes a fill that is in hand, and every later one, fail by its deadline. Any
// goroutine may call it.
func (in *input) stop() {
	in.stopped.Store(true)
	_ = in.c.SetReadDeadline(time.Unix(1, 0))
}

// partial returns the type of the frame that has begun and not ended; frameData if
// there is none.
func (in *input) partial() frameType {
	if in.w-in.r <= 3 {
		return frameData
	}
	return frameType(in.buf[in.r+3])
}

// fill receives something. If within is not zero, that and what has come since it
// was zero last must come by then.
func (in *input) fill(within time.Duration) error {
	if in.timed != (within > 0) {
		var deadline time.Time
		if within > 0 {
			deadline = time.Now().Add(within)
		}
		in.timed = within > 0
		_ = in.c.SetReadDeadline(deadline)
		if in.stopped.Load() {
			in.stop() // it may have come between
		}
	}
	if in.r == in.w && in.late != nil && !in.c.Unread() {
		return in.wait()
	}
	in.makeRoom()
	n, err := in.c.Read(in.buf[in.w:])
	in.w += n
	in.full = in.w == len(in.buf)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// wait receives into a buffer that is borrowed when there is something.
func (in *input) wait() error {
	in.drop()
	get := getMedium
	if in.full {
		get = getLarge
	}
	buf, n, err := in.late.ReadLate(get, codec.Return)
	if err != nil {
		return err
	}
	in.c.CountRead(n)
	in.buf, in.r, in.w = buf, 0, n
	in.full = n == len(buf)
	return nil
}

func getMedium() []byte { return codec.Borrow(codec.Medium)[:codec.Medium] }
func getLarge() []byte  { return codec.Borrow(codec.Large)[:codec.Large] }

// makeRoom makes room for the rest of the frame that has begun, and more.
func (in *input) makeRoom() {
	need := codec.Medium
	if in.w-in.r >= frameHeader {
		need = max(need, frameHeader+frameLength(in.buf[in.r:]))
	}
	if in.full {
		need = max(need, codec.Large)
	}
	if len(in.buf) >= need && len(in.buf)-in.r >= need {
		return
	}
	if len(in.buf) >= need {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
		return
	}
	grown := codec.Borrow(need)
	grown = grown[:cap(grown)]
	n := copy(grown, in.buf[in.r:in.w])
	if in.buf != nil {
		codec.Return(in.buf)
	}
	in.buf, in.r, in.w = grown, 0, n
}

// next returns the next whole frame, valid until the next fill, if there is one.
func (in *input) next(limit int) (f frame, ok bool, err error) {
	f, n, err := parseFrame(in.buf[in.r:in.w], limit)
	in.r += n
	return f, n > 0, err
}

// drop gives the buffer back, with what is in it.
func (in *input) drop() {
	if in.buf != nil {
		codec.Return(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// How much a peer may still send while it is being left: one that is told to calm
// down gets little more to be read.
const (
	maxDrain  = 1 << 20
	calmDrain = 64 << 10
)

// drain receives, and forgets, until the peer closes, or the deadline is over.
func (in *input) drain(most int) {
	in.drop()
	in.buf = getMedium()
	for total := 0; total < most; {
		n, err := in.c.Read(in.buf)
		if total += n; err != nil {
			return
		}
	}
}
