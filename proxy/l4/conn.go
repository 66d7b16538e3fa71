package l4

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/warm"
)

// ErrNothingSent is in an error of Conn.WriteRead when the kernel took none of
// the bytes, so that the peer cannot have seen any.
var ErrNothingSent = fmt.Errorf("nothing was sent: %w", stack.ErrUnsent)

// A Conn is a TCP connection whose reads and writes cost less than those of
// net.TCPConn, and mean the same: they are made raw, inside the callbacks of
// syscall.RawConn, so that the runtime's poller still does the waiting, and
// deadlines and Close work as ever. All else is the TCPConn's own.
//
// A Conn has four methods beside those of net.Conn, for a codec that finds them:
// WriteRead, ReadLate, WaitReadable and PeerClosed. Any number of goroutines may use it at once.
type Conn struct {
	*net.TCPConn

	raw syscall.RawConn
	in  input
	out output

	peeking sync.Mutex // guards pending
	pending bool       // whether the last peek found something
	peek    func(fd uintptr)

	closed atomic.Bool
	after  atomic.Pointer[func()] // called once by Close
}

// NewConn returns t as a Conn, which owns it.
func NewConn(t *net.TCPConn) (*Conn, error) {
	raw, err := t.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("raw access to %v: %w", t.RemoteAddr(), err)
	}
	c := &Conn{TCPConn: t, raw: raw}
	c.in.ready, c.out.ready, c.peek = c.readable, c.writable, c.peekable
	return c, nil
}

// Read reads once. It returns io.EOF at the end.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return c.TCPConn.Read(p)
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.begin(reading)
	c.in.p = p
	err := c.await()
	c.in.p = nil // it is the caller's
	return c.in.n, err
}

// Write writes all of p, unless it returns an error.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return c.TCPConn.Write(p)
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.begin(p, true)
	err := c.flush()
	c.out.p = nil // it is the caller's
	return c.out.n, err
}

// Close closes the connection. It wakes whoever reads or writes.
func (c *Conn) Close() error {
	c.closed.Store(true)
	err := c.TCPConn.Close()
	if f := c.after.Swap(nil); f != nil {
		(*f)()
	}
	return err
}

// afterClose has f called once the connection is closed, at once if it is. There
// is one f at a time; nil takes it back.
func (c *Conn) afterClose(f func()) {
	if f == nil {
		c.after.Store(nil)
		return
	}
	c.after.Store(&f)
	if c.closed.Load() {
		if f := c.after.Swap(nil); f != nil {
			(*f)()
		}
	}
}

// Warm fetches what the next use of the connection needs.
func (c *Conn) Warm() { warm.Object(c) }

// PeerClosed reports whether the peer has closed the connection, or has sent what
// nobody has read: either way an idle connection is not to be used again. It asks
// the kernel, without waiting.
func (c *Conn) PeerClosed() bool {
	c.peeking.Lock()
	defer c.peeking.Unlock()
	c.pending = true // should the connection be closed on this side
	_ = c.raw.Control(c.peek)
	return c.pending
}

func (c *Conn) peekable(fd uintptr) { c.pending = quiet(fd) != nil }

var (
	errUnsolicited = errors.New("bytes that nobody asked for")
	errPeerClosed  = errors.New("closed by the peer")
)

// quiet returns nil if there is nothing to read, and the connection is open.
func quiet(fd uintptr) error {
	var b [1]byte
	switch n, errno := recv(fd, b[:], syscall.MSG_PEEK); {
	case errno == syscall.EAGAIN:
		return nil
	case errno != 0:
		return os.NewSyscallError("recv", errno)
	case n == 0:
		return errPeerClosed
	default:
		return errUnsolicited
	}
}

// opError gives err the form that errors of net.TCPConn have.
func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // io.EOF is never wrapped by what made err
		return err
	}
	var outer *net.OpError
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
