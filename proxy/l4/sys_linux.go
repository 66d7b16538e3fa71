package l4

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below are raw: they do not tell the scheduler, which would wake the
// runtime's monitor thread in a process that was idle. They may therefore be made
// on a socket in non-blocking mode only, while a callback of syscall.RawConn holds
// its descriptor open. All that the package asks of Linux alone is in this file.

// recv reads what there is into p, with the flags of recv(2). It returns 0 and no
// error at the end.
func recv(fd uintptr, p []byte, flags int) (int, syscall.Errno) {
	for {
		//nolint:gosec // p outlives the call, which cannot move the stack
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
		if errno == 0 {
			sawRead()
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

// send writes what fits of p. It raises no SIGPIPE.
func send(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		aboutToWrite()
		//nolint:gosec // p outlives the call, which cannot move the stack
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

// splice moves up to n bytes between a socket and a pipe, without copying them.
func splice(from, to uintptr, n int) (int, syscall.Errno) {
	for {
		aboutToWrite()
		m, _, errno := syscall.RawSyscall6(syscall.SYS_SPLICE, from, 0, to, 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno == 0 {
			sawRead()
			return int(m), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}
