package l4

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/warm"
)

// An input is the read that a Conn is waiting for. Its callback is made once, and
// not for every read, since that would allocate.
type input struct {
	mu    sync.Mutex // held for the whole of a read; guards what follows
	ready func(fd uintptr) bool

	task task
	p    []byte
	get  func() []byte
	put  func([]byte)
	sent func() // called when all is written, before the wait
	n    int
	err  error
}

// A task is what an input does when it is called back.
type task uint8

const (
	reading  task = iota // read into p
	late                 // read into what get gives
	exchange             // write first, then read late
	waiting              // read nothing
)

func (in *input) begin(t task) {
	in.task, in.n, in.err = t, 0, nil
}

// await lets the poller call readable until it has something.
func (c *Conn) await() error {
	guard.Point("connection read")
	err := c.raw.Read(c.in.ready)
	if err == nil {
		err = c.in.err
	}
	return c.opError("read", err)
}

// readable is called at once, and then whenever the connection has become
// readable, until it returns true. The poller tells of changes only, so that
// false is right after EAGAIN alone.
func (c *Conn) readable(fd uintptr) bool {
	in := &c.in
	switch in.task {
	case exchange:
		return c.writeFirst(fd)
	case late:
		if in.sent != nil { // who wrote a request has waited long, and is about to return
			warm.Callers()
		}
		in.p = in.get()
		if in.receive(fd) {
			return true
		}
		in.put(in.p)
		in.p = nil
		return false
	case waiting:
		return in.arrived(fd)
	case reading:
	}
	return in.receive(fd)
}

// receive reads once, and reports whether there is a result.
func (in *input) receive(fd uintptr) bool {
	n, errno := recv(fd, in.p, 0)
	switch {
	case errno == syscall.EAGAIN:
		return false
	case errno != 0:
		in.err = os.NewSyscallError("read", errno)
	case n == 0 && len(in.p) > 0:
		in.err = io.EOF
	default:
		in.n = n
	}
	return true
}

// ReadLate waits until there is something to read, and only then takes a buffer
// from get to read it into: a connection that idles holds none. It returns that
// buffer and how much of it was filled, at least one byte; or an error, and no
// buffer. What get gave and was not used is returned by put; neither may block,
// nor use the connection.
func (c *Conn) ReadLate(get func() []byte, put func([]byte)) ([]byte, int, error) {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.begin(late)
	in.get, in.put = get, put
	return in.taken(c.await())
}

// WaitReadable waits until there is something to read, and reads nothing. It
// returns io.EOF at the end.
func (c *Conn) WaitReadable() error {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.begin(waiting)
	return c.await()
}

// arrived reports whether there is something to read, or never will be.
func (in *input) arrived(fd uintptr) bool {
	err := quiet(fd)
	switch err {
	case nil:
		return false
	case errUnsolicited: //nolint:errorlint // quiet wraps neither
	case errPeerClosed:
		in.err = io.EOF
	default:
		in.err = err
	}
	return true
}

// taken ends a read into a buffer that was taken late.
func (in *input) taken(err error) ([]byte, int, error) {
	p, put := in.p, in.put
	in.p, in.get, in.put = nil, nil, nil
	if err != nil {
		if p != nil {
			put(p)
		}
		return nil, 0, err
	}
	return p, in.n, nil
}

// WriteRead writes all of w and calls sent, then waits for what the peer answers
// and reads the first of it as ReadLate does: who waits for a server needs no
// buffer. After sent w is the caller's again. It is for a connection on which
// nothing is under way: one that the peer has closed, or on which there are bytes
// already, it does not use. That saves a read that would find nothing, and the
// caller PeerClosed.
//
// If the error wraps ErrNothingSent, no byte of w has left. Any other error says
// nothing of how much the peer has seen.
func (c *Conn) WriteRead(w []byte, sent func(), get func() []byte, put func([]byte)) ([]byte, int, error) {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	c.out.mu.Lock()
	c.out.begin(w, false)
	in.begin(exchange)
	in.sent, in.get, in.put = sent, get, put
	err := c.await()
	if in.task == exchange { // still: not all of w is written
		if err = c.finish(err); err == nil {
			in.sent()
			in.begin(late)
			err = c.await()
		}
	}
	in.sent = nil
	return in.taken(err)
}

// writeFirst writes what fits, and gives the writing half back if that was all.
// The poller's callback holds the descriptor open for it. Nothing can come unseen
// between quiet and the wait, since the poller was reset before quiet.
func (c *Conn) writeFirst(fd uintptr) bool {
	if c.in.err = quiet(fd); c.in.err != nil {
		return true
	}
	c.writable(fd)
	if c.in.err = c.out.err; c.in.err != nil || c.out.n < len(c.out.p) {
		return true
	}
	c.in.task, c.out.p = late, nil
	c.out.mu.Unlock()
	c.in.sent()
	return false
}

// finish writes what writeFirst has left, unless that has failed with err, and
// gives the writing half back.
func (c *Conn) finish(err error) error {
	defer c.out.mu.Unlock()
	if err == nil {
		c.out.block = true
		err = c.flush()
	}
	c.out.p = nil
	if err != nil && c.out.n == 0 {
		return fmt.Errorf("%w: %w", ErrNothingSent, err)
	}
	return err
}
