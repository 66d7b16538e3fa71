package l4

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

const (
	// bulky is how many times in a row a buffer must have been filled before the
	// direction is spliced, and how many bursts in a row must have fit into one
	// before it is copied again.
	bulky = 4
	// turn is how many bytes a direction may move before others get theirs.
	turn = 1 << 20
)

// A flow is one direction between two sockets. It moves what there is within the
// poller's callback, and holds neither buffer nor pipe while there is nothing.
// Small messages are copied, since that is one read and one write; a direction
// that proves bulky is spliced: the kernel moves pages, and nothing is copied.
//
// It never waits for the receiver within the sender's callback: that would keep
// the sender's Close waiting as well.
type flow struct {
	relay    *relay
	dst, src *stack.Conn
	out, in  *Conn

	read, write func(fd uintptr) bool // the callbacks, made once

	buffer *[]byte // borrowed, if not nil
	size   int     // its index in relay.buffers
	rest   []byte  // of buffer: received, and not yet sent
	pipe   *pipe   // borrowed, if not nil

	splicing bool // this direction is bulky
	refused  bool // it cannot be spliced, whatever it is
	streak   int  // of full buffers, or while splicing of small bursts
	burst    int  // bytes since the last wait
	moved    int  // bytes since the last turn

	wait bool  // whether to wait until all is sent
	rerr error // of src; io.EOF at the end
	werr error // of dst
}

func newFlow(r *relay, dst, src *stack.Conn, out, in *Conn) *flow {
	f := &flow{relay: r, dst: dst, src: src, out: out, in: in}
	f.read, f.write = f.readable, f.writable
	return f
}

// run returns when src has ended and dst was told so, or when either has failed.
func (f *flow) run() error {
	defer f.release()
	for {
		if err := f.in.raw.Read(f.read); err != nil && f.rerr == nil {
			f.rerr = err // closed
		}
		switch {
		case f.werr != nil:
			return failed(f.dst, f.out.opError("write", f.werr))
		case errors.Is(f.rerr, io.EOF):
			return endHalf(f.dst)
		case f.rerr != nil:
			return failed(f.src, f.in.opError("read", f.rerr))
		}
		f.wait = true // for the receiver, which is slow
		f.pass()
		f.wait = false
		if f.werr != nil {
			return failed(f.dst, f.out.opError("write", f.werr))
		}
	}
}

// readable moves bytes until there are no more, then returns false; or until they
// cannot all be sent, or src or dst has failed, then true.
func (f *flow) readable(fd uintptr) bool {
	for {
		n, errno := f.receive(fd)
		switch {
		case errno == syscall.EAGAIN:
			f.pause()
			return false
		case errno == syscall.EINVAL && f.splicing: // not on this kernel
			f.copyInstead()
			continue
		case errno != 0:
			f.rerr = os.NewSyscallError("read", errno)
			return true
		case n == 0:
			f.rerr = io.EOF
			return true
		}
		f.count(n)
		if f.pass(); f.werr != nil || f.holds() > 0 {
			return true
		}
		if f.grow(); f.moved >= turn {
			f.moved = 0
			runtime.Gosched()
		}
	}
}

// receive takes what there is into the buffer or the pipe, which is empty.
func (f *flow) receive(fd uintptr) (int, syscall.Errno) {
	if f.splicing && f.pipe == nil {
		if f.pipe = f.relay.pipe(); f.pipe == nil {
			f.copyInstead()
		}
	}
	if f.pipe != nil {
		n, errno := splice(fd, f.pipe.w, pipeSize)
		f.pipe.n = n
		return n, errno
	}
	if f.buffer == nil {
		f.buffer = f.relay.buffer(f.size)
	}
	n, errno := recv(fd, *f.buffer, 0)
	f.rest = (*f.buffer)[:n]
	return n, errno
}

// pass sends what is held, as far as it goes or, if wait is set, all of it.
func (f *flow) pass() {
	if err := f.out.raw.Write(f.write); err != nil && f.werr == nil {
		f.werr = err
	}
}

// writable sends until nothing is held, or no more goes.
func (f *flow) writable(fd uintptr) bool {
	for f.holds() > 0 {
		n, errno := f.send(fd)
		if errno == syscall.EAGAIN {
			return !f.wait
		}
		if errno != 0 {
			f.werr = os.NewSyscallError("write", errno)
			return true
		}
		f.dst.CountWritten(n)
	}
	return true
}

func (f *flow) send(fd uintptr) (int, syscall.Errno) {
	if f.pipe != nil {
		n, errno := splice(f.pipe.r, fd, f.pipe.n)
		f.pipe.n -= n
		return n, errno
	}
	n, errno := send(fd, f.rest)
	f.rest = f.rest[n:]
	return n, errno
}

// holds returns how many bytes were received and not sent.
func (f *flow) holds() int {
	if f.pipe != nil {
		return f.pipe.n
	}
	return len(f.rest)
}

// release gives back what is borrowed.
func (f *flow) release() {
	if f.pipe != nil {
		f.relay.putPipe(f.pipe)
		f.pipe = nil
	}
	if f.buffer != nil {
		f.relay.buffers[f.size].Put(f.buffer)
		f.buffer, f.rest = nil, nil
	}
}

// count counts n bytes that were received, and notes whether they filled a buffer.
func (f *flow) count(n int) {
	f.src.CountRead(n)
	f.burst += n
	f.moved += n
	switch {
	case f.splicing:
	case n < len(*f.buffer):
		f.streak = 0
	default:
		f.streak++
	}
}

// grow turns to splicing once the direction has proved bulky. Nothing is held.
func (f *flow) grow() {
	if f.splicing || f.refused || f.streak < bulky {
		return
	}
	f.release()
	f.splicing, f.streak = true, 0
}

// copyInstead is for a direction that is bulky and cannot be spliced.
func (f *flow) copyInstead() {
	f.release()
	f.splicing, f.refused = false, true
	f.size = len(f.relay.buffers) - 1
}

// pause is called when there is no more for now. It goes back to copying if there
// has been little, for some time.
func (f *flow) pause() {
	f.release()
	few := f.burst < smallBuffer
	f.burst = 0
	switch {
	case !f.splicing:
	case !few:
		f.streak = 0
	default:
		if f.streak++; f.streak >= bulky {
			f.splicing, f.streak = false, 0
		}
	}
}
