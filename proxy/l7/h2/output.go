package h2

import (
	"context"
	"errors"
	"syscall"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// room returns buf with room for n bytes more, and has it flushed soon. The caller
// holds mu, appends whole frames, and makes the result buf.
func (c *conn) room(n int) []byte {
	if !c.dirty && !c.writing {
		c.dirty = true
		c.sched.add(c)
	}
	switch {
	case c.buf == nil:
		return codec.Borrow(max(n, codec.Small))
	case cap(c.buf)-len(c.buf) < n:
		grown := append(codec.Borrow(max(len(c.buf)+n, min(4*cap(c.buf), codec.Large))), c.buf...)
		codec.Return(c.buf)
		return grown
	}
	return c.buf
}

// queued is how many bytes wait to be written. The caller holds mu.
func (c *conn) queued() int { return len(c.buf) + c.flight }

// flush writes what there is, without waiting: what does not fit is written by a
// goroutine of its own.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.unlock()
	c.dirty = false
	if c.writing {
		return
	}
	c.writing = true
	for len(c.buf) > 0 && c.werr == nil {
		p := c.take()
		n, err := c.tryWriteOutside(p)
		if err == nil && (n < len(p) || c.holder != nil && c.holder.Holding()) {
			go c.guarded(stageWriter, func() { c.writeOn(p, n) })
			return
		}
		codec.Return(p)
		c.wrote(err)
	}
	c.writing = false
	c.relief.wake() // the last word may be waiting for a write by another connection's batch
}

// take returns what is to be written next. The caller holds mu.
func (c *conn) take() []byte {
	p := c.buf
	c.buf = nil
	c.flight = len(p)
	return p
}

// wrote notes how a write has gone. The caller holds mu.
func (c *conn) wrote(err error) {
	c.flight = 0
	if err != nil && c.werr == nil {
		c.werr = err
		c.unwritable(err)
	}
	if c.werr != nil && c.buf != nil {
		codec.Return(c.buf)
		c.buf = nil
	}
	c.feed()
}

// unwritable has the reader end, which tells the streams why. If the peer has gone, what
// it said before is read to its end first: that says how its streams ended.
func (c *conn) unwritable(err error) {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return
	}
	_ = c.nc.Close()
}

// tryWriteOutside is tryWrite without mu. The caller holds mu.
func (c *conn) tryWriteOutside(p []byte) (n int, err error) {
	c.mu.Unlock()
	defer c.mu.Lock() // even if it panics: whoever has taken mu gives it back
	return c.tryWrite(p)
}

func (c *conn) tryWrite(p []byte) (int, error) {
	guard.Point("http2 frames written")
	if c.try == nil {
		return 0, nil
	}
	n, err := c.try.TryWrite(p)
	c.nc.CountWritten(n)
	return n, err
}

// writeOn writes p from n on, and then whatever has come meanwhile.
func (c *conn) writeOn(p []byte, n int) {
	for p != nil {
		guard.Point("http2 frames written")
		_, err := c.nc.Write(p[n:])
		codec.Return(p)
		p, n = c.writeNext(err), 0
	}
}

// writeNext notes how a write has gone, and returns what is to be written next; nil if
// there is nothing.
func (c *conn) writeNext(err error) []byte {
	c.mu.Lock()
	defer c.unlock()
	c.wrote(err)
	if len(c.buf) > 0 && c.werr == nil {
		return c.take()
	}
	c.writing = false
	c.relief.wake()
	return nil
}

// relieve waits, before more is received, until a peer that does not read has taken
// some of what answers its own frames.
func (c *conn) relieve() error {
	c.mu.Lock()
	defer c.unlock()
	if c.queued() <= 2*c.params.sendBuffer() {
		return nil
	}
	return c.until(context.Background(), &c.relief, func() bool { return c.queued() <= c.params.sendBuffer() || c.werr != nil })
}

// beginBlock prepares for a header block: its fields are written to enc, and end
// makes frames of them. The caller holds mu.
func (c *conn) beginBlock() (mark int) {
	b := c.room(512)
	mark = len(b)
	c.enc.begin(appendFrame(b, 0, frameHeaders, 0, 0))
	return mark
}

// endBlock ends the header block that began at mark. The caller holds mu.
func (c *conn) endBlock(st *stream, mark int, end bool) {
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	b := c.enc.end()
	c.sent++
	n := len(b) - mark - frameHeader
	if n <= c.peer.frameSize {
		appendFrame(b[:mark], n, frameHeaders, flags|flagEndHeaders, st.id)
		c.buf = b
		return
	}
	rest := append([]byte(nil), b[mark+frameHeader:]...)
	b = b[:mark]
	kind := frameHeaders
	for len(rest) > 0 {
		k := min(len(rest), c.peer.frameSize)
		if k == len(rest) {
			flags |= flagEndHeaders
		}
		c.buf = b
		b = appendFrame(c.room(frameHeader+k), k, kind, flags, st.id)
		b = append(b, rest[:k]...)
		rest, kind, flags = rest[k:], frameContinuation, 0
	}
	c.buf = b
}

// allowed is how much of n bytes may be sent on st now. The caller holds mu.
func (c *conn) allowed(st *stream, n int) int {
	room := c.params.sendBuffer() - c.queued()
	return max(0, min(n, int(min(st.sendWindow, c.sendWindow)), c.peer.frameSize, room))
}

// starve notes that st waits for something of the connection's own. The caller
// holds mu.
func (c *conn) starve(st *stream) {
	if !st.starved && (c.sendWindow <= 0 || c.queued() >= c.params.sendBuffer()) {
		st.starved = true
		c.starved = append(c.starved, st)
	}
}

// appendData appends one DATA frame. The caller holds mu.
func (c *conn) appendData(st *stream, p []byte, end bool) {
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	b := appendFrame(c.room(frameHeader+len(p)), len(p), frameData, flags, st.id)
	c.buf = append(b, p...)
	c.sent++
	st.sendWindow -= int64(len(p))
	c.sendWindow -= int64(len(p))
	if end {
		st.endSend()
	}
}

// reset tells the peer that st is over. The caller holds mu.
func (c *conn) reset(st *stream, code stack.ErrCode) {
	c.buf = appendReset(c.room(frameHeader+4), st.id, code)
	c.leave(st.id)
}
