package l4

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A listener that is to be closed is emptied first: a close resets the connections
// that nobody has accepted, whose clients are connected, and may have sent requests.
// That goes by calls of lastCall, each of which is longer than a handshake takes
// between machines that are near, until one brings nobody.
const (
	lastCall  = 50 * time.Millisecond
	lastCalls = 20 // at most, should new ones come although they are not to
)

// beginClose has the kernel drop what would begin a connection to l, as if the
// network had, so that the queue comes to its end, and Accept fail after lastCall
// with a timeout. Who is dropped tries again after a second, and is refused. If l
// knows no deadlines it is closed at once.
func beginClose(l net.Listener) {
	d, ok := l.(interface{ SetDeadline(t time.Time) error })
	if !ok {
		_ = l.Close()
		return
	}
	if s, ok := l.(syscall.Conn); ok {
		_ = dropNew(s) // without it the queue is emptied all the same, if it can be
	}
	if d.SetDeadline(time.Now().Add(lastCall)) != nil {
		_ = l.Close()
	}
}

// dropNew has the kernel drop the first segment of every new connection, and pass
// the rest: handshakes that have begun are finished. Accepted sockets inherit this,
// and no segment of theirs is such.
func dropNew(s syscall.Conn) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	const (
		flagsAt = 13 // in TCP's header (RFC 9293, section 3.1)
		syn     = 1 << 1
		ack     = 1 << 4
	)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flagsAt},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: syn},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
	return control(raw, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	})
}
