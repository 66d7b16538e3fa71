package main

import (
	"net"
	"syscall"
	"unsafe"
)

// serve gives each connection to f, and closes it after.
func serve(addr string, f func(*net.TCPConn)) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serveListener(l, f)
}

func serveListener(l net.Listener, f func(*net.TCPConn)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			f(c.(*net.TCPConn))
		}()
	}
}

func echo(o options) error {
	return serve(o.addr, func(c *net.TCPConn) {
		// Not io.Copy, which would splice: what a small message costs is measured.
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			if _, werr := c.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	})
}

func sink(o options) error {
	return serve(o.addr, func(c *net.TCPConn) {
		raw, err := c.SyscallConn()
		if err != nil {
			return
		}
		b := make([]byte, 1<<20)
		_ = raw.Read(func(fd uintptr) bool { return discard(fd, b) })
	})
}

// discard has the kernel throw away what has come (MSG_TRUNC), so that the server
// costs next to nothing. It reports whether nothing more will.
func discard(fd uintptr, b []byte) bool {
	for {
		n, _, e := syscall.Syscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), syscall.MSG_TRUNC, 0, 0)
		switch {
		case e == syscall.EAGAIN:
			return false
		case e != 0 || n == 0:
			return true
		}
	}
}
