package l4

import (
	"os"
	"sync"
	"syscall"

	"github.com/outrigger-mesh/outrigger/guard"
)

// An output is the write that a Conn is waiting for.
type output struct {
	mu    sync.Mutex // held for the whole of a write; guards what follows
	ready func(fd uintptr) bool

	p     []byte
	block bool // whether to wait until all of p is written
	n     int  // how much of it is
	err   error
}

func (out *output) begin(p []byte, block bool) {
	out.p, out.block, out.n, out.err = p, block, 0, nil
}

// flush lets the poller call writable until that is done. It goes on where an
// earlier one has left off.
func (c *Conn) flush() error {
	guard.Point("connection written")
	err := c.raw.Write(c.out.ready)
	if err == nil {
		err = c.out.err
	}
	return c.opError("write", err)
}

// writable is called at once, and then whenever there is room again, until it
// returns true.
func (c *Conn) writable(fd uintptr) bool {
	out := &c.out
	for out.n < len(out.p) {
		n, errno := send(fd, out.p[out.n:])
		if errno == syscall.EAGAIN {
			return !out.block
		}
		if errno != 0 {
			out.err = os.NewSyscallError("write", errno)
			return true
		}
		out.n += n
	}
	return true
}

// TryWrite writes as much of p as fits without waiting, which may be nothing.
func (c *Conn) TryWrite(p []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.begin(p, false)
	err := c.flush()
	c.out.p = nil // it is the caller's
	return c.out.n, err
}
