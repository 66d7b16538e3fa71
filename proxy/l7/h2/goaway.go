package h2

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// readPing answers a PING, or takes one's answer.
func (c *conn) readPing(f *frame) error {
	switch {
	case f.stream != 0:
		return &connError{stack.ProtocolError, "PING on a stream"}
	case len(f.content) != pingBytes:
		return &connError{stack.FrameSizeError, "PING of a wrong length"}
	}
	data := [pingBytes]byte(f.content)
	if f.has(flagAck) {
		if c.pinged = false; c.server != nil && data == goAwayPing {
			c.server.goAway()
		}
		return nil
	}
	c.buf = appendPing(c.room(frameHeader+pingBytes), data, true)
	return nil
}

// Data of the PINGs that are sent from here.
var (
	goAwayPing    = [pingBytes]byte{'g', 'o', 'a', 'w', 'a', 'y', 0, 1} //nolint:gochecknoglobals // a constant
	keepAlivePing = [pingBytes]byte{'a', 'l', 'i', 'v', 'e', '?', 0, 1} //nolint:gochecknoglobals // a constant
)

// readGoAway takes note that the peer wants no more streams, and which of ours it
// has not looked at.
func (c *conn) readGoAway(f *frame) error {
	switch {
	case f.stream != 0:
		return &connError{stack.ProtocolError, "GOAWAY on a stream"}
	case len(f.content) < 8:
		return &connError{stack.FrameSizeError, "GOAWAY of a wrong length"}
	}
	last := binary.BigEndian.Uint32(f.content) & lastStream
	why := &goAwayError{stack.ErrCode(binary.BigEndian.Uint32(f.content[4:])), string(f.content[8:min(len(f.content), 8+256)])}
	if c.server != nil {
		return nil
	}
	c.away = true
	for st := range c.streams.all() {
		if st.id > last {
			c.lose(st, fmt.Errorf("%w: %w", stack.ErrUnsent, why))
		}
	}
	if why.code != stack.NoError && c.err == nil {
		c.err = why
	}
	c.client.changed = true
	c.client.freed() // it may have no streams at all
	return nil
}

// keepAlive pings a silent peer, and ends a connection whose peer stays silent.
type keepAlive struct {
	c     *conn
	timer *time.Timer
}

func startKeepAlive(c *conn) *keepAlive {
	if c.params.KeepAliveInterval <= 0 || c.params.KeepAliveTimeout <= 0 {
		return nil
	}
	k := &keepAlive{c: c}
	c.mu.Lock() // which look takes first
	defer c.unlock()
	k.timer = time.AfterFunc(c.params.KeepAliveInterval, func() { c.guarded(stageTimer, k.look) })
	return k
}

func (k *keepAlive) stop() {
	if k != nil {
		k.timer.Stop()
	}
}

// look runs on the timer's goroutine.
func (k *keepAlive) look() {
	c := k.c
	c.mu.Lock()
	defer c.unlock()
	if c.err != nil {
		return
	}
	switch idle := c.streams.count == 0 && !c.params.KeepAliveWhileIdle; {
	case c.pinged:
		c.err = ErrKeepAlive
		_ = c.nc.Close()
		return
	case c.heard || idle:
		k.timer.Reset(c.params.KeepAliveInterval)
	default:
		c.pinged = true
		c.buf = appendPing(c.room(frameHeader+pingBytes), keepAlivePing, false)
		k.timer.Reset(c.params.KeepAliveTimeout)
	}
	c.heard = false
}
