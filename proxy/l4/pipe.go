package l4

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	pipeSize    = 1 << 20  // the most that a user may ask for: fs.pipe-max-size
	minPipeSize = 64 << 10 // the usual; the kernel gives less to a user who has many
)

// A pipe is the kernel's buffer between two sockets that are spliced.
type pipe struct {
	r, w    uintptr
	n       int // bytes in it
	cleanup runtime.Cleanup
}

// pipe borrows a pipe, which is empty; nil if there is none to be had.
func (r *relay) pipe() *pipe {
	if p, ok := r.pipes.Get().(*pipe); ok {
		return p
	}
	return openPipe()
}

// putPipe takes p back, unless something is left in it.
func (r *relay) putPipe(p *pipe) {
	if p.n > 0 {
		p.close()
		return
	}
	r.pipes.Put(p)
}

// openPipe opens a pipe that closes itself when it is collected, since a pool
// forgets what it holds.
func openPipe() *pipe {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil
	}
	if scarce(fds[1]) {
		closeFDs(fds)
		return nil
	}
	size, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(fds[1]), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < minPipeSize {
		closeFDs(fds)
		return nil
	}
	p := &pipe{r: uintptr(fds[0]), w: uintptr(fds[1])}
	p.cleanup = runtime.AddCleanup(p, closeFDs, fds)
	return p
}

// scarce reports whether fd's number says that half of all descriptors are in use.
// Bytes can be copied without a pipe, and no connection is to lack one for it.
func scarce(fd int) bool {
	var limit unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && uint64(fd) >= limit.Cur/2
}

func (p *pipe) close() {
	p.cleanup.Stop()
	closeFDs([2]int{int(p.r), int(p.w)})
}

func closeFDs(fds [2]int) {
	_ = unix.Close(fds[0])
	_ = unix.Close(fds[1])
}
