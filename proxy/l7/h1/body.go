package h1

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A body is the content of a message that comes in. It has a chunk lie in its
// connection's input, and reads on when that is used up.
type body struct {
	in     *input
	params *Params
	framing
	left    int64 // of kind byLength
	chunks  dechunker
	inside  bool // of a trailer: the last chunk has been read
	reads   int  // how often it was read for much
	trailer stack.Header
	err     error // io.EOF at the end; whatever else it failed with

	wrap   func(error) error // makes a malformation this side's error
	begin  func()            // called before the first byte is asked for; may be nil
	closed func(cause error) // called by the first Close
	done   bool
	stop   interrupter
	guard  context.Context //nolint:containedctx // whose end closes the connection anyway; or nil
	fate   atomic.Uint32   // open, ended or failed; and then closed
}

// What other goroutines than the reader's may ask of a body.
const (
	isOpen uint32 = iota
	hasEnded
	hasFailed
	wasClosed uint32 = 1 << 4
)

// start makes b the content that follows the head just read.
func (b *body) start(in *input, p *Params, f framing) {
	b.trailer.Reset()
	b.in, b.params, b.framing, b.left = in, p, f, f.length
	b.chunks, b.inside, b.begin, b.done, b.reads = dechunker{}, false, nil, false, 0
	b.stop.c = in.c
	b.err = nil
	b.fate.Store(isOpen)
	if f.kind == noContent || f.kind == byLength && f.length == 0 {
		b.finish(io.EOF)
	}
}

// finish says how the content ended: err is io.EOF or why it did not end well.
func (b *body) finish(err error) {
	b.err = err
	fate := hasFailed
	if err == io.EOF { //nolint:errorlint // set by this file alone
		fate = hasEnded
	}
	b.fate.Store(b.fate.Load()&wasClosed | fate)
}

// isClosed reports whether the reader is through, and no chunk is in use.
func (b *body) isClosed() bool { return b.fate.Load()&wasClosed != 0 }

// hasEnded reports whether the content came whole.
func (b *body) hasEnded() bool { return b.fate.Load()&^wasClosed == hasEnded }

// hasFailed reports whether the content can no longer come whole.
func (b *body) hasFailed() bool { return b.fate.Load()&^wasClosed == hasFailed }

// Next implements stack.Body.
func (b *body) Next(ctx context.Context) ([]byte, error) {
	if b.done {
		return nil, fmt.Errorf("read after the end: %w", stack.ErrClosed)
	}
	if b.err != nil {
		return nil, b.err
	}
	if b.begin != nil {
		b.begin()
		b.begin = nil
	}
	for {
		chunk, err := b.decode()
		if err != nil {
			b.finish(err)
		}
		if len(chunk) > 0 || err != nil {
			return chunk, err
		}
		if err := b.fill(ctx); err != nil {
			if ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)) {
				b.finish(err)
			}
			return nil, err
		}
	}
}

// fill waits for more, until ctx is done.
func (b *body) fill(ctx context.Context) error {
	err := b.wait(ctx, b.roomWanted())
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return nil
	case errors.Is(err, io.EOF) && b.kind == byEnd:
		return io.EOF
	case errors.Is(err, io.EOF):
		return ErrTruncated
	default:
		return fmt.Errorf("read body: %w", err)
	}
}

// taken is how much of a body has been read before more is read at once: more than the
// kernel holds for a reader that does not read, so that such a one costs little here.
const taken = 16 << 20

// roomWanted returns how much is read at once.
func (b *body) roomWanted() int {
	if b.kind != byEnd && b.left <= codec.Head && b.chunks.left <= codec.Head {
		return codec.Head
	}
	most := cmp.Or(b.params.Bulk, codec.Bulk)
	if b.reads++; b.reads <= taken/codec.Chunk {
		return min(codec.Chunk, most)
	}
	return most
}

// wait receives something unless ctx is done before. An interruption that was
// meant for an earlier context is waited over.
func (b *body) wait(ctx context.Context, size int) error {
	if ctx == b.guard {
		return b.in.fill(size)
	}
	for {
		b.stop.arm()
		watch := stack.WatchFor(ctx, &b.stop)
		err := b.in.fill(size)
		watch.Stop()
		if !b.stop.disarm() || err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// decode takes what is at hand. With neither chunk nor error it needs more.
func (b *body) decode() ([]byte, error) {
	switch b.kind {
	case byLength:
		chunk := b.take(b.left)
		if b.left -= int64(len(chunk)); b.left == 0 {
			return chunk, io.EOF
		}
		return chunk, nil
	case byEnd:
		return b.take(int64(b.in.w - b.in.r)), nil
	case byChunks:
		return b.decodeChunk()
	case noContent:
	}
	return nil, io.EOF
}

func (b *body) take(n int64) []byte {
	in := b.in
	n = min(n, int64(in.w-in.r))
	chunk := in.buf[in.r : in.r+int(n)]
	in.r += int(n)
	return chunk
}

// decodeChunk joins the data of all whole chunks at hand, by moving it together
// where it lies: a content in small chunks costs its reader one call.
func (b *body) decodeChunk() ([]byte, error) {
	var data []byte
	for {
		if b.inside {
			return data, b.readTrailer()
		}
		if b.chunks.left > 0 {
			part := b.take(b.chunks.left)
			b.chunks.left -= int64(len(part))
			data = together(data, part)
			if b.chunks.left > 0 || len(part) == 0 {
				return data, nil
			}
		}
		n, last, err := b.chunks.next(b.in.unread())
		if err != nil {
			return data, b.wrap(err)
		}
		if n == 0 {
			return data, nil
		}
		b.in.r += n
		b.inside = last
	}
}

// together appends part, which lies behind data in the same buffer.
func together(data, part []byte) []byte {
	if len(data) == 0 {
		return part
	}
	return append(data, part...)
}

// AtHand implements stack.Body.
func (b *body) AtHand() bool {
	switch {
	case b.err != nil || b.done:
		return true
	case b.begin != nil && b.in.r == b.in.w:
		return false
	case b.kind != byChunks:
		return b.in.r < b.in.w
	}
	return b.chunkAtHand()
}

// chunkAtHand reports whether there is a byte of data, or the whole end, at hand.
func (b *body) chunkAtHand() bool {
	u := b.in.unread()
	if b.inside {
		return trailerAtHand(u)
	}
	if b.chunks.left > 0 {
		return len(u) > 0
	}
	look := b.chunks
	n, last, err := look.next(u)
	if err != nil {
		return true
	}
	if n == 0 {
		return false
	}
	if last {
		return trailerAtHand(u[n:])
	}
	return len(u) > n
}

// Trailer implements stack.Body.
func (b *body) Trailer() *stack.Header { return &b.trailer }

// Size implements stack.Body.
func (b *body) Size() (int64, bool) {
	return b.length, b.kind == noContent || b.kind == byLength
}

// Close implements stack.Body.
func (b *body) Close(cause error) error {
	if b.done {
		return nil
	}
	b.done = true
	b.fate.Store(b.fate.Load() | wasClosed)
	if b.closed != nil {
		b.closed(cause)
	}
	return nil
}
