package l4

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// control calls f with raw's descriptor, which stays open until f has returned.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if failed := raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

// setOptions sets what all of the proxy's sockets have in common: probes when idle,
// and the given times where they are not zero. (Package net sets TCP_NODELAY on
// whatever it accepts or dials.)
func setOptions(raw syscall.RawConn, keepalive, userTimeout time.Duration) error {
	return control(raw, func(fd int) error {
		options := []struct {
			name               string
			level, option, val int
			skip               bool
		}{
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, false},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, roundUp(keepalive, time.Second), keepalive <= 0},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, roundUp(userTimeout, time.Millisecond), userTimeout <= 0},
		}
		for _, o := range options {
			if o.skip {
				continue
			}
			if err := unix.SetsockoptInt(fd, o.level, o.option, o.val); err != nil {
				return os.NewSyscallError("set "+o.name, err)
			}
		}
		return nil
	})
}

// roundUp returns d in units, at least one.
func roundUp(d, unit time.Duration) int { return int((d + unit - 1) / unit) }

// cause takes package net's wrapping off err, which names what the caller names
// better.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Refuse closes c so that the client sees a reset, and not an orderly end: it was
// told that it is connected by the redirect, and not by whom it meant to reach.
// It returns err, having told c of it.
func Refuse(c *stack.Conn, err error) error {
	c.Failed(err)
	abort(c)
	return err
}

// abort closes c with a reset, if there is TCP below.
func abort(c *stack.Conn) {
	if t, ok := innermost(c.Conn).(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0) // if it fails the connection is closed already
	}
	_ = c.Close()
}

// innermost looks through what wraps a connection, such as TLS.
func innermost(c net.Conn) net.Conn {
	for {
		switch w := c.(type) {
		case *stack.Conn:
			c = w.Conn
		case interface{ NetConn() net.Conn }:
			c = w.NetConn()
		default:
			return c
		}
	}
}
