package h2

import (
	"encoding/binary"
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// The settings (RFC 9113, section 6.5.2).
const (
	settingTableSize uint16 = iota + 1
	settingEnablePush
	settingMaxStreams
	settingInitialWindow
	settingMaxFrameSize
	settingMaxHeaderList
)

// settings are what a peer has said that it takes.
type settings struct {
	maxStreams uint32
	window     int64 // of a new stream
	frameSize  int
}

// firstSettings hold until the peer has spoken. RFC 9113 has no limit on streams,
// which no server means: beyond 100 of them a client of ours waits for its word.
func firstSettings() settings {
	return settings{maxStreams: 100, window: firstWindow, frameSize: minFrameSize}
}

// apply reads one setting. Only a client may ask for pushes, which it never gets: for
// a server the setting has no meaning (RFC 9113, section 6.5.2).
func (s *settings) apply(id uint16, v uint32, fromClient bool) error {
	switch id {
	case settingEnablePush:
		if v > 1 || v == 1 && !fromClient {
			return badSetting(stack.ProtocolError, "ENABLE_PUSH", v)
		}
	case settingMaxStreams:
		s.maxStreams = v
	case settingInitialWindow:
		if s.window = int64(v); v > maxWindow {
			return badSetting(stack.FlowControlError, "INITIAL_WINDOW_SIZE", v)
		}
	case settingMaxFrameSize:
		if s.frameSize = int(v); v < minFrameSize || v > maxFrameSize {
			return badSetting(stack.ProtocolError, "MAX_FRAME_SIZE", v)
		}
	}
	return nil // unknown ones are ignored; so is the header list's size, which is advice
}

func badSetting(code stack.ErrCode, name string, v uint32) error {
	return &connError{code, fmt.Sprintf("SETTINGS_%s is %d", name, v)}
}

// appendSettings appends a SETTINGS frame with those that differ from the RFC's
// first values, and what the connection's window is above its own.
func (p *Params) appendSettings(b []byte, server bool) []byte {
	start := len(b)
	b = appendFrame(b, 0, frameSettings, 0, 0)
	add := func(id uint16, v uint32) {
		b = binary.BigEndian.AppendUint16(b, id)
		b = binary.BigEndian.AppendUint32(b, v)
	}
	if !server {
		add(settingEnablePush, 0)
	} else if p.MaxStreams > 0 {
		add(settingMaxStreams, p.MaxStreams)
	}
	if p.streamWindow() != firstWindow {
		add(settingInitialWindow, uint32(p.streamWindow()))
	}
	if p.frameSize() != minFrameSize {
		add(settingMaxFrameSize, uint32(p.frameSize()))
	}
	add(settingMaxHeaderList, uint32(p.HeadBytes))
	n := len(b) - start - frameHeader
	b[start+1], b[start+2] = byte(n>>8), byte(n)
	if more := p.connWindow() - firstWindow; more > 0 {
		b = appendWindowUpdate(b, 0, int(more))
	}
	return b
}

// readSettings takes the peer's settings over and acknowledges them.
func (c *conn) readSettings(f *frame) error {
	switch {
	case f.stream != 0:
		return &connError{stack.ProtocolError, "SETTINGS on a stream"}
	case f.has(flagAck) && len(f.content) > 0, len(f.content)%settingBytes != 0:
		return &connError{stack.FrameSizeError, "SETTINGS of a wrong length"}
	case f.has(flagAck):
		return nil
	}
	s := c.peer
	if !c.settled {
		s.maxStreams = lastStream // the peer has spoken, and not of it yet
	}
	for b := f.content; len(b) > 0; b = b[settingBytes:] {
		id, v := binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])
		if err := s.apply(id, v, c.server != nil); err != nil {
			return err
		}
		if id == settingTableSize { // each counts: a table that was gone in between is empty
			c.enc.setLimit(v)
		}
	}
	if err := c.growWindows(s.window - c.peer.window); err != nil {
		return err
	}
	c.peer, c.settled = s, true
	c.buf = appendFrame(c.room(frameHeader), 0, frameSettings, flagAck, 0)
	if c.client != nil {
		c.client.changed = true
	}
	return nil
}

// streamsPerFrame is how many streams' windows can be changed for what a control
// frame costs.
const streamsPerFrame = 16

// growWindows changes what may be sent on each stream by by, which may be
// negative. The caller holds mu.
func (c *conn) growWindows(by int64) error {
	if by == 0 {
		return nil
	}
	for range c.streams.count / streamsPerFrame { // it costs the peer one frame
		if !c.control.spend() {
			return calm("too many changes of the streams' windows")
		}
	}
	for st := range c.streams.all() {
		if st.sendWindow += by; st.sendWindow > maxWindow {
			return &connError{stack.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE takes a stream's window over its limit"}
		}
		if by > 0 {
			st.wr.wake()
		}
	}
	return nil
}
