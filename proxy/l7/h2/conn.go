package h2

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A conn is one connection, from either side. One goroutine receives on it, the
// reader; any number send. Each sends by appending whole frames to buf under mu;
// the Scheduler has them written.
type conn struct {
	nc     *stack.Conn
	params *Params
	sched  *Scheduler
	server *server // or nil
	client *client // or nil

	// What follows is the reader's own.
	in       input
	dec      decoder
	block    block
	scratch  stack.Header // what is decoded for a stream that somebody else has
	touched  []news       // whom to wake when the batch is over
	control  budget
	updates  budget
	refusals budget
	now      time.Duration // when the batch in hand came
	inBatch  bool          // one is

	mu sync.Mutex // guards all that follows

	buf     []byte // whole frames to be written; borrowed, nil while there are none
	flight  int    // bytes that are being written
	writing bool
	dirty   bool // the Scheduler knows
	werr    error
	try     tryWriter
	holder  holder // try, if it is one; or nil
	relief  waiter // for the reader, when it waits for writes

	enc        *encoder
	peer       settings
	settled    bool // the peer's SETTINGS have come
	streams    streamTable
	starved    []*stream // what they wait for is the connection's
	sendWindow int64
	recvWindow int64 // what the peer may still send
	owed       int64 // consumed, and not yet given back to the peer's window
	newest     uint32
	passed     uint32     // the last stream that a client began after it was told not to
	sent       int        // frames of header blocks and content, since it was last looked at
	left       [64]uint32 // streams that were ended from here, for which frames may still be under way
	leftAt     int
	resets     budget
	err        error // why the connection is over
	away       bool  // no further stream is to be begun
	pinged     bool  // and has not answered
	heard      bool  // something has come since the last look
}

// A tryWriter is a connection that can take what fits without waiting.
type tryWriter interface {
	TryWrite(p []byte) (n int, err error)
}

// A holder is a tryWriter that may keep some of what it took until the next Write.
type holder interface{ Holding() bool }

func newConn(nc *stack.Conn, p *Params) *conn {
	c := &conn{
		nc: nc, params: p, sched: p.Scheduler, dec: newDecoder(), enc: newEncoder(),
		peer:       firstSettings(),
		sendWindow: firstWindow, recvWindow: p.connWindow(),
		control: newBudget(controlBurst, controlRate), updates: newBudget(updateBurst, updateRate),
		resets: newBudget(cmp.Or(p.MaxResets, resetBurst), resetRate), refusals: newBudget(refuseBurst, refuseRate),
	}
	c.in.init(nc)
	c.try, _ = nc.Conn.(tryWriter)
	c.holder, _ = nc.Conn.(holder)
	c.sched.Workers.Opened()
	return c
}

// greet writes our side's SETTINGS.
func (c *conn) greet() {
	c.mu.Lock()
	defer c.unlock()
	b := c.room(128)
	if c.server == nil {
		b = append(b, preface...)
	}
	c.buf = c.params.appendSettings(b, c.server != nil)
}

// read receives and handles frames until the connection is over, and says why.
func (c *conn) read() error {
	if c.server != nil {
		if err := c.server.readPreface(); err != nil {
			return err
		}
		c.greet()
		c.server.greeted()
	}
	for {
		c.now, c.inBatch = c.sched.enter(), true
		err := c.batch()
		woken := c.wakeTouched()
		if c.server != nil {
			c.server.look()
		} else {
			c.client.tell()
			woken = 0 // answers gain nothing by it: they go to as many connections
		}
		c.inBatch = false // leave does so first
		c.sched.leave(woken)
		if err == nil {
			err = c.relieve()
		}
		if err == nil {
			err = c.in.fill(c.hurry())
		}
		if err != nil {
			return err
		}
	}
}

// hurry returns by when what has begun must be complete: a header block that the
// peer does not end keeps all else waiting.
func (c *conn) hurry() time.Duration {
	if c.block.open || !c.in.greeted || c.in.partial() == frameHeaders || c.in.partial() == frameContinuation {
		return c.params.HeadTime
	}
	return 0
}

// batch handles every whole frame that is unread. It holds mu meanwhile, but lets
// others have it now and then, and all that handles frames is called with mu held.
func (c *conn) batch() error {
	c.mu.Lock()
	defer c.unlock()
	c.heard = true
	for n := 1; ; n++ {
		f, ok, err := c.in.next(c.params.frameSize())
		if !ok || err != nil {
			return err
		}
		if err := c.handle(&f); err != nil {
			return err
		}
		if n%framesAtOnce == 0 {
			c.mu.Unlock()
			c.mu.Lock()
		}
	}
}

// framesAtOnce is for how many frames a stream on another processor may be kept
// waiting: some microseconds.
const framesAtOnce = 32

// handle handles one frame. Its error ends the connection.
func (c *conn) handle(f *frame) error {
	guard.Point("http2 frame received")
	if err := c.inOrder(f); err != nil {
		return err
	}
	switch f.kind {
	case frameData:
		return c.readData(f)
	case frameHeaders:
		return c.readHeaders(f)
	case frameContinuation:
		return c.readContinuation(f)
	case frameReset:
		return c.readReset(f)
	case frameWindowUpdate:
		return c.readWindowUpdate(f)
	case framePush:
		return &connError{stack.ProtocolError, "PUSH_PROMISE, which is disabled"}
	default:
		return c.readControl(f)
	}
}

// inOrder refuses a frame that may not stand where it does: ahead of the first
// SETTINGS, or amid a header block.
func (c *conn) inOrder(f *frame) error {
	switch {
	case c.block.open && (f.kind != frameContinuation || f.stream != c.block.id):
		return &connError{stack.ProtocolError, "frame amid a header block"}
	case !c.in.greeted && (f.kind != frameSettings || f.has(flagAck)):
		return &connError{stack.ProtocolError, "first frame is not SETTINGS"}
	}
	c.in.greeted = true
	return nil
}

// readControl handles the frames that cost the peer nothing, and are counted.
func (c *conn) readControl(f *frame) error {
	if !c.afford(&c.control) {
		return calm("too many control frames")
	}
	switch f.kind {
	case frameSettings:
		return c.readSettings(f)
	case framePing:
		return c.readPing(f)
	case frameGoAway:
		return c.readGoAway(f)
	case framePriority:
		return c.readPriority(f)
	default: // of an extension, and to be ignored (RFC 9113, section 5.5)
		return nil
	}
}

// readPriority looks at what has no effect any more (RFC 9113, section 5.3.2).
func (c *conn) readPriority(f *frame) error {
	switch {
	case f.stream == 0:
		return &connError{stack.ProtocolError, "PRIORITY of no stream"}
	case len(f.content) != priorityBytes:
		return c.refuseStream(f.stream, stack.FrameSizeError, "PRIORITY of a wrong length")
	case dependsOn(f.content) == f.stream:
		return c.refuseStream(f.stream, stack.ProtocolError, "stream depends on itself")
	}
	return nil
}

// readWindowUpdate grows what may be sent.
func (c *conn) readWindowUpdate(f *frame) error {
	if len(f.content) != 4 {
		return &connError{stack.FrameSizeError, "WINDOW_UPDATE of a wrong length"}
	}
	if !c.afford(&c.updates) {
		return calm("too many WINDOW_UPDATE frames")
	}
	n := int64(binary.BigEndian.Uint32(f.content) & maxWindow)
	if f.stream == 0 {
		if n == 0 {
			return &connError{stack.ProtocolError, "WINDOW_UPDATE by nothing"}
		}
		if c.sendWindow += n; c.sendWindow > maxWindow {
			return &connError{stack.FlowControlError, "connection's window is over its limit"}
		}
		c.feed()
		return nil
	}
	st := c.streams.get(f.stream)
	switch {
	case st == nil && c.isIdle(f.stream):
		return &connError{stack.ProtocolError, "WINDOW_UPDATE of an idle stream"}
	case st == nil:
		return nil
	case n == 0:
		return c.failStream(st, stack.ProtocolError, "WINDOW_UPDATE by nothing")
	case st.sendWindow+n > maxWindow:
		return c.failStream(st, stack.FlowControlError, "stream's window is over its limit")
	}
	st.sendWindow += n
	st.wr.wake()
	return nil
}

// feed wakes the streams that wait for the connection. The caller holds mu.
func (c *conn) feed() {
	for i, st := range c.starved {
		st.starved = false
		st.wr.wake()
		c.starved[i] = nil
	}
	c.starved = c.starved[:0]
}

// isIdle reports whether no stream of that number has begun yet. The caller holds mu.
func (c *conn) isIdle(id uint32) bool {
	if id%2 == 0 {
		return true
	}
	return id > c.newest && id > c.passed
}

// A news is what a batch has brought for one stream.
type news struct {
	st   *stream
	lost error // why it was ended early; nil if it was not
}

// touch has those who wait on st woken when the batch is over. The caller holds mu.
func (c *conn) touch(st *stream) {
	if !st.touched {
		st.touched = true
		c.touched = append(c.touched, news{st: st})
	}
}

// wakeTouched wakes, once each, those who have news from the batch, and returns how
// many there were.
func (c *conn) wakeTouched() (woken int) {
	if len(c.touched) == 0 {
		return 0
	}
	c.mu.Lock()
	for i := range c.touched {
		n := &c.touched[i]
		n.st.touched = false
		if n.lost = n.st.recvErr; n.lost == nil {
			n.lost = n.st.sendErr
		}
	}
	c.mu.Unlock()
	for i, n := range c.touched {
		c.touched[i] = news{}
		n.st.role.news(n.lost)
	}
	woken = len(c.touched)
	c.touched = c.touched[:0]
	return woken
}

// refuseStream resets a stream for a frame that must not be, and counts that: to
// make a server reset streams is an attack too.
func (c *conn) refuseStream(id uint32, code stack.ErrCode, why string) error {
	if st := c.streams.get(id); st != nil {
		return c.failStream(st, code, why)
	}
	if c.isIdle(id) {
		return &connError{code, why}
	}
	return c.resetUnknown(id, code)
}

// resetUnknown resets a stream that is not kept. The caller holds mu.
func (c *conn) resetUnknown(id uint32, code stack.ErrCode) error {
	if !c.refusals.spend() {
		return calm("too many streams had to be reset")
	}
	c.buf = appendReset(c.room(frameHeader+4), id, code)
	c.leave(id)
	return nil
}

// failStream ends st on both sides for what the peer has done wrong on it, and tells
// it by code. The caller holds mu.
func (c *conn) failStream(st *stream, code stack.ErrCode, why string) error {
	if !c.refusals.spend() {
		return calm("too many streams had to be reset")
	}
	c.reset(st, code)
	if c.server != nil {
		c.lose(st, &clientFault{code, why})
	} else {
		c.lose(st, &codec.ResponseError{Reason: why})
	}
	return nil
}

// lose ends st for err, and has both sides of it told when the batch is over. The
// caller, who is the reader, holds mu.
func (c *conn) lose(st *stream, err error) {
	st.fail(err)
	c.touch(st)
}

// leave notes that frames of that stream, which may be under way, are not to be
// wondered at. The caller holds mu.
func (c *conn) leave(id uint32) {
	c.left[c.leftAt%len(c.left)] = id
	c.leftAt++
}

func (c *conn) wasLeft(id uint32) bool {
	for _, l := range c.left {
		if l == id {
			return true
		}
	}
	return false
}

// end fails every stream, for err or for what has been noted before.
func (c *conn) end(err error) {
	_ = c.params.Guard.Do(stageReader, func() { c.loseAll(err) })
	for c.params.Guard.Do(stageReader, func() { c.wakeTouched() }) != nil {
		c.leaveBatch() // each time there is one less to be told
	}
}

func (c *conn) loseAll(err error) {
	c.mu.Lock()
	defer c.unlock()
	if c.err == nil {
		c.err = err
	}
	c.away = true
	for st := range c.streams.all() {
		c.lose(st, c.err)
	}
	c.feed()
}

// close closes the connection, and gives back what it has borrowed.
func (c *conn) close() {
	defer c.sched.Workers.Closed()
	_ = c.nc.Close()
	c.in.drop()
	c.mu.Lock()
	c.werr = errors.Join(c.werr, errDrained)
	if c.buf != nil {
		codec.Return(c.buf)
		c.buf = nil
	}
	c.mu.Unlock()
	if c.block.kept != nil {
		codec.Return(c.block.kept)
	}
}

// farewell writes what is left, which says why the connection ends, and gives the
// peer a moment to read it: to close at once would take it back (RFC 9113, section
// 5.4.1, and the kernel's reset).
func (c *conn) farewell(err error) {
	var ce *connError
	if errors.As(err, &ce) {
		c.mu.Lock()
		c.buf = appendGoAway(c.room(frameHeader+8+len(ce.reason)), c.newest, ce.code, ce.reason)
		c.mu.Unlock()
	}
	c.lastWords()
	_ = c.nc.CloseWrite()
	if ce != nil && ce.code == stack.EnhanceYourCalm {
		c.in.drain(calmDrain)
		return
	}
	c.in.drain(maxDrain)
}

// lastWords writes what is left: how the last streams ended, among other things. A peer
// that does not take it is not waited for.
func (c *conn) lastWords() {
	_ = c.nc.SetDeadline(time.Now().Add(max(c.params.DrainTime, time.Millisecond)))
	c.flushGuarded()
	c.mu.Lock()
	defer c.unlock()
	_ = c.until(context.Background(), &c.relief, func() bool { return !c.writing || errors.Is(c.werr, errBroken) })
}
