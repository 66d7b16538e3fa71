package h2

import (
	"context"
	"encoding/binary"
	"io"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A stream is one exchange on one connection, from either side. It is also the
// stack.Body of what the peer sends on it, but for Close.
//
// Of its two waiters, rd is for whoever reads what the peer sends, and wr for
// whoever sends.
type stream struct {
	role   role
	rd, wr waiter

	c      *conn
	id     uint32
	length int64 // that the head declares, or -1; set before anybody else sees it

	ready atomic.Bool // atHand, for who does not hold c.mu

	streamState // guarded by c.mu
}

type streamState struct {
	touched bool // is among those that the batch has news for
	starved bool // is among the connection's starved

	pending  []byte // received and unread; borrowed
	taken    []byte // the chunk in its reader's hand; borrowed
	received int64
	recvEnd  bool  // all has come
	recvErr  error // why it will not
	dropped  bool  // nobody reads any more
	owed     int64 // consumed, and not yet given back to the peer's window
	recvLeft int64 // what the peer may still send
	trailer  stack.Header

	sendWindow int64
	sendEnd    bool
	sendErr    error
}

// A role is what a stream is beside that: a server's or a client's.
type role interface {
	// news is told, by the connection's reader, that the stream has changed, and
	// why it was ended early, if it was.
	news(lost error)
}

func newStream(r role) stream { return stream{role: r, rd: newWaiter()} }

// start makes st the stream of that number. The caller holds mu.
func (st *stream) start(c *conn, id uint32) {
	st.trailer.Reset()
	st.c, st.id, st.length = c, id, -1
	touched, starved, trailer := st.touched, st.starved, st.trailer
	st.streamState = streamState{} // one with fields would be made on the stack, which is a connection's dearest memory
	st.touched, st.starved, st.trailer = touched, starved, trailer
	st.recvLeft, st.sendWindow = c.params.streamWindow(), c.peer.window
	st.ready.Store(false)
	c.streams.put(st)
}

// endSend notes that our side is over. The caller holds mu.
func (st *stream) endSend() {
	st.sendEnd = true
	st.forget()
}

// endRecv notes that the peer's side is over. The caller holds mu.
func (st *stream) endRecv() {
	st.recvEnd = true
	st.ready.Store(true)
	st.forget()
}

// broken reports whether the peer's side has ended early. The caller holds mu.
func (st *stream) broken() bool { return st.recvErr != nil }

// forget takes st off the connection once both sides are over. The caller holds mu.
func (st *stream) forget() {
	over := (st.sendEnd || st.sendErr != nil) && (st.recvEnd || st.recvErr != nil)
	if !over || st.c.streams.get(st.id) != st {
		return
	}
	st.c.streams.remove(st.id)
	if st.c.client != nil {
		st.c.client.freed()
	} else {
		st.c.server.freed()
	}
}

// fail ends what is not over of both sides. The caller holds mu.
func (st *stream) fail(err error) {
	if !st.recvEnd && st.recvErr == nil {
		st.recvErr = err
		st.ready.Store(true)
		st.c.giveBack(st, len(st.pending))
		st.dropPending()
	}
	if !st.sendEnd && st.sendErr == nil {
		st.sendErr = err
	}
	st.forget()
	st.rd.wake()
	st.wr.wake()
}

func (st *stream) dropPending() {
	if st.pending != nil {
		codec.Return(st.pending)
		st.pending = nil
	}
}

// Next implements stack.Body.
func (st *stream) Next(ctx context.Context) (chunk []byte, err error) {
	c := st.c
	c.mu.Lock()
	defer c.unlock()
	st.release()
	if err := c.until(ctx, &st.rd, st.atHand); err != nil {
		return nil, err
	}
	if st.recvErr != nil {
		return nil, st.recvErr
	}
	st.taken, st.pending = st.pending, nil
	if st.recvEnd {
		return st.taken, io.EOF
	}
	st.ready.Store(false)
	return st.taken, nil
}

// release takes back the chunk that was read, and gives the peer credit for it. The
// caller holds mu.
func (st *stream) release() {
	if st.taken == nil {
		return
	}
	n := len(st.taken)
	codec.Return(st.taken)
	st.taken = nil
	st.c.giveBack(st, n)
}

// atHand reports whether Next need not wait. The caller holds mu.
func (st *stream) atHand() bool {
	return len(st.pending) > 0 || st.recvEnd || st.recvErr != nil
}

// AtHand implements stack.Body.
func (st *stream) AtHand() bool { return st.ready.Load() }

// Trailer implements stack.Body.
func (st *stream) Trailer() *stack.Header { return &st.trailer }

// closeRecv says that nobody reads any more. The caller holds mu.
func (st *stream) closeRecv() {
	st.release()
	st.dropped = true
	if n := len(st.pending); n > 0 {
		st.dropPending()
		st.c.giveBack(st, n)
	}
}

// giveBack gives the peer credit for n bytes that were consumed, once they are worth
// a frame. The caller holds mu.
func (c *conn) giveBack(st *stream, n int) {
	if n == 0 {
		return
	}
	c.owed += int64(n)
	if c.owed >= c.params.connWindow()/4 {
		c.buf = appendWindowUpdate(c.room(frameHeader+4), 0, int(c.owed))
		c.recvWindow += c.owed
		c.owed = 0
	}
	if st == nil || st.recvEnd || st.recvErr != nil || st.dropped {
		return
	}
	if st.owed += int64(n); st.owed >= c.params.streamWindow()/4 {
		c.buf = appendWindowUpdate(c.room(frameHeader+4), st.id, int(st.owed))
		st.recvLeft += st.owed
		st.owed = 0
	}
}

// readData receives a part of a body.
func (c *conn) readData(f *frame) error {
	if f.stream == 0 {
		return &connError{stack.ProtocolError, "DATA of no stream"}
	}
	size := len(f.content)
	if err := f.unpad(); err != nil {
		return err
	}
	if len(f.content) == 0 && !f.has(flagEndStream) && !c.control.spend() {
		return calm("too many empty DATA frames")
	}
	if c.recvWindow -= int64(size); c.recvWindow < 0 {
		return &connError{stack.FlowControlError, "DATA over the connection's window"}
	}
	st := c.streams.get(f.stream)
	if st == nil || st.recvEnd || st.recvErr != nil {
		c.giveBack(nil, size)
		return c.lateData(f.stream, st)
	}
	if st.headless() {
		c.giveBack(nil, size)
		return c.failStream(st, stack.ProtocolError, "DATA ahead of the response's head")
	}
	if st.recvLeft -= int64(size); st.recvLeft < 0 {
		c.giveBack(nil, size)
		return c.failStream(st, stack.FlowControlError, "DATA over the stream's window")
	}
	c.giveBack(st, size-len(f.content)) // of padding, there is no reader
	return c.takeData(st, f)
}

// headless reports whether st is still without its response's head. The caller holds mu.
func (st *stream) headless() bool {
	cs, ok := st.role.(*clientStream)
	return ok && !cs.answered
}

// takeData keeps what has come for its reader. The caller holds mu.
func (c *conn) takeData(st *stream, f *frame) error {
	st.received += int64(len(f.content))
	end := f.has(flagEndStream)
	if st.length >= 0 && (st.received > st.length || end && st.received < st.length) {
		c.giveBack(nil, len(f.content))
		return c.failStream(st, stack.ProtocolError, wrongLength)
	}
	if st.dropped {
		c.giveBack(st, len(f.content))
	} else if len(f.content) > 0 {
		st.pending = codec.Append(st.pending, f.content)
		st.ready.Store(true)
	}
	if end {
		st.endRecv()
	}
	c.touch(st)
	return nil
}

const wrongLength = "content does not have the length that its head declares"

// lateData handles DATA for which there is no reader: of a stream that was left it
// may have been under way. The caller holds mu.
func (c *conn) lateData(id uint32, st *stream) error {
	switch {
	case st != nil && st.broken():
		return nil
	case st != nil:
		return c.failStream(st, stack.StreamClosed, "DATA after the stream's end")
	case c.isIdle(id):
		return &connError{stack.ProtocolError, "DATA of an idle stream"}
	case c.client != nil, id > c.newest, c.wasLeft(id):
		return nil
	default:
		return c.resetUnknown(id, stack.StreamClosed)
	}
}

// readReset ends a stream that the peer gives up.
func (c *conn) readReset(f *frame) error {
	switch {
	case f.stream == 0:
		return &connError{stack.ProtocolError, "RST_STREAM of no stream"}
	case len(f.content) != 4:
		return &connError{stack.FrameSizeError, "RST_STREAM of a wrong length"}
	}
	code := stack.ErrCode(binary.BigEndian.Uint32(f.content))
	st := c.streams.get(f.stream)
	switch {
	case st == nil && c.isIdle(f.stream):
		return &connError{stack.ProtocolError, "RST_STREAM of an idle stream"}
	case c.server != nil && !c.resets.take(resetFee(st, c.now)):
		return calm("too many streams were reset")
	case st != nil:
		c.lose(st, c.resetBy(code))
	}
	return nil
}

// resetFee is what the client pays for the reset of st. The caller holds mu.
func resetFee(st *stream, now time.Duration) float64 {
	if st == nil {
		return patientFee // it has ended meanwhile, or long ago: there is nothing to give up
	}
	ss := st.role.(*serverStream) //nolint:forcetypeassert // a server's streams are no others
	switch {
	case ss.send.st != nil:
		return 0 // it is answered
	case now-ss.began > rapidLife:
		return patientFee
	default:
		return 1
	}
}

// resetBy is how a stream ends that the peer has reset.
func (c *conn) resetBy(code stack.ErrCode) error {
	if c.server != nil {
		return &clientReset{stack.ResetError{Code: code}}
	}
	if code == stack.RefusedStream {
		return &unsentReset{stack.ResetError{Code: code}}
	}
	return &stack.ResetError{Code: code}
}

// A clientReset is a stream that a client has given up.
type clientReset struct{ reset stack.ResetError }

func (e *clientReset) Error() string   { return "client reset the stream: " + e.reset.Code.String() }
func (e *clientReset) Unwrap() []error { return []error{codec.ErrClientGone, &e.reset} }

// A clientFault is a stream that had to be reset for what the client did on it.
type clientFault struct {
	code stack.ErrCode
	why  string
}

func (e *clientFault) Error() string {
	return "client's stream was reset: " + e.code.String() + ": " + e.why
}
func (e *clientFault) Unwrap() error { return codec.ErrClientGone }

// An unsentReset is a stream that a server has not looked at (RFC 9113, section 8.7).
type unsentReset struct{ reset stack.ResetError }

func (e *unsentReset) Error() string   { return e.reset.Error() }
func (e *unsentReset) Unwrap() []error { return []error{stack.ErrUnsent, &e.reset} }
