package l4

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Buffers grow with what a connection has to say, since a larger one costs less
// per byte and more while it is held.
const (
	smallBuffer  = 16 << 10
	mediumBuffer = 64 << 10
	largeBuffer  = 128 << 10
)

// A relay copies from one connection to another. It keeps what all its copies
// share: buffers and pipes, which they borrow while there are bytes in hand.
type relay struct {
	buffers [3]sync.Pool // of *[]byte, by size
	pipes   sync.Pool    // of *pipe, all empty
}

func newRelay() *relay {
	r := &relay{}
	for i, size := range []int{smallBuffer, mediumBuffer, largeBuffer} {
		r.buffers[i].New = func() any { b := make([]byte, size); return &b }
	}
	return r
}

// copy copies from src to dst until src ends, and then ends that half of dst. It
// tells whichever of the two fails.
func (r *relay) copy(dst, src *stack.Conn) error {
	if p := src.Peeked(); len(p) > 0 {
		if _, err := dst.Write(p); err != nil {
			return failed(dst, err)
		}
	}
	in, rawIn := src.Conn.(*Conn)
	out, rawOut := dst.Conn.(*Conn)
	if rawIn && rawOut {
		return newFlow(r, dst, src, out, in).run()
	}
	return r.copyLoop(dst, src)
}

// copyLoop is copy for connections of any kind.
func (r *relay) copyLoop(dst, src *stack.Conn) error {
	size := 0
	for {
		b := r.buffer(size)
		n, err := r.copyOnce(dst, src, *b)
		r.buffers[size].Put(b)
		switch {
		case errors.Is(err, io.EOF):
			return endHalf(dst)
		case err != nil:
			return err
		case n == len(*b):
			size = min(size+1, len(r.buffers)-1)
		case n < smallBuffer/2:
			size = 0
		}
	}
}

// copyOnce copies what one read gives. Its error is io.EOF at src's end.
func (r *relay) copyOnce(dst, src *stack.Conn, b []byte) (int, error) {
	n, rerr := src.Read(b)
	if n > 0 {
		if _, err := dst.Write(b[:n]); err != nil {
			return n, failed(dst, err)
		}
	}
	if rerr != nil && !errors.Is(rerr, io.EOF) {
		return n, failed(src, rerr)
	}
	return n, rerr
}

// buffer borrows a buffer; it goes back to r.buffers[size].
func (r *relay) buffer(size int) *[]byte {
	b, _ := r.buffers[size].Get().(*[]byte) // New gives no other
	return b
}

// endHalf tells dst that no more comes.
func endHalf(dst *stack.Conn) error {
	if err := dst.CloseWrite(); err != nil {
		return failed(dst, err)
	}
	return nil
}

// failed tells c of err, and returns it. That c was closed on this side is no
// failure of c's.
func failed(c *stack.Conn, err error) error {
	if !errors.Is(err, net.ErrClosed) {
		c.Failed(err)
	}
	return err
}
