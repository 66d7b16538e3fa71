package l4

import (
	"errors"
	"os"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// handshakeRecord is the first byte of TLS's first record.
const handshakeRecord = 22

// Spoke waits until c's client has said something, or has been silent for that long.
// It reports the former.
func Spoke(c *stack.Conn, silence time.Duration) (bool, error) {
	_ = c.SetReadDeadline(time.Now().Add(silence)) // fails on a closed connection only, as does the next
	_, err := c.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.Unread(), nil
	}
	return err == nil, err
}

// MayBeTLS reports whether what c's client has said begins as a handshake of TLS does.
func MayBeTLS(c *stack.Conn) bool {
	if !c.Unread() {
		return false
	}
	p, err := c.Peek(1)
	return err == nil && p[0] == handshakeRecord
}

// DropServer closes the server's connection that detection has opened for c, if any.
func DropServer(c *stack.Conn) {
	if c.Server != nil {
		_ = c.Server.Close()
		c.Server = nil
	}
}
