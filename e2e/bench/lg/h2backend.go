package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime/debug"
)

// h2Backend is a lean cleartext HTTP/2 server. A request with a content is answered
// as gRPC would be (the content, then trailers), one without by so many bytes. It
// does not look into the fields, and writes once for each batch that it reads.
func h2Backend(o options) error {
	debug.SetGCPercent(400)
	body := bytes.Repeat([]byte("x"), o.size)
	return serve(o.addr, func(c *net.TCPConn) { newH2Conn(c, body).run() })
}

type h2Conn struct {
	c       net.Conn
	body    []byte
	out     []byte
	fields  fields
	streams map[uint32]*h2Stream
	free    []*h2Stream
	blocked []*h2Stream // those that wait for credit

	credit, streamCredit int64
	consumed             int
}

type h2Stream struct {
	id      uint32
	in, out []byte
	credit  int64
	grpc    bool
}

func newH2Conn(c net.Conn, body []byte) *h2Conn {
	return &h2Conn{c: c, body: body, streams: map[uint32]*h2Stream{}, credit: firstWindow, streamCredit: firstWindow}
}

func (c *h2Conn) run() {
	hello := appendFrame(nil, frame{kind: frameSettings, payload: []byte{0, 3, 0, 0, 0x27, 0x10, 0, settingWindow, 0, 0x10, 0, 0}})
	c.c.Write(appendCredit(hello, bigWindow))
	in := input{c: c.c, b: make([]byte, 128<<10)}
	if in.fill(len(preface)) != nil {
		return
	}
	in.drop(len(preface))
	for {
		c.out = c.out[:0]
		rest := in.b[:in.n]
		for f, more, ok := nextFrame(rest); ok; f, more, ok = nextFrame(more) {
			rest = more
			c.frame(f)
		}
		in.drop(in.n - len(rest))
		if len(c.out) > 0 {
			if _, err := c.c.Write(c.out); err != nil {
				return
			}
		}
		if in.more() != nil {
			return
		}
	}
}

func (c *h2Conn) frame(f frame) {
	switch f.kind {
	case frameData:
		c.data(f)
	case frameHeaders:
		s := c.stream(f.stream)
		if f.is(flagEnd) {
			c.respond(s)
		}
	case frameReset:
		delete(c.streams, f.stream)
	case frameSettings:
		if !f.is(flagEnd) {
			c.settings(f.payload)
		}
	case framePing:
		if !f.is(flagEnd) {
			c.out = appendFrame(c.out, frame{kind: framePing, flags: flagEnd, payload: f.payload})
		}
	case frameWindowUpdate:
		c.credited(f.stream, int64(binary.BigEndian.Uint32(f.payload)&0x7fffffff))
	}
}

func (c *h2Conn) stream(id uint32) *h2Stream {
	if s := c.streams[id]; s != nil {
		return s
	}
	s := &h2Stream{}
	if last := len(c.free) - 1; last >= 0 {
		s, c.free = c.free[last], c.free[:last]
	}
	s.id, s.credit = id, c.streamCredit
	c.streams[id] = s
	return s
}

func (c *h2Conn) data(f frame) {
	if c.consumed += len(f.payload); c.consumed > creditsAfter {
		c.out = appendCredit(c.out, uint32(c.consumed))
		c.consumed = 0
	}
	s := c.streams[f.stream]
	if s == nil {
		return
	}
	if f.is(flagPadded) {
		f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	}
	s.in = append(s.in, f.payload...)
	if f.is(flagEnd) {
		c.respond(s)
	}
}

func (c *h2Conn) respond(s *h2Stream) {
	s.out, s.grpc = c.body, len(s.in) > 0
	block := c.fields.response(s.grpc)
	if s.grpc {
		s.out = s.in
	}
	c.out = appendFrame(c.out, frame{frameHeaders, flagEndHeaders, s.id, block})
	if !c.push(s) {
		c.blocked = append(c.blocked, s)
	}
}

// push sends what there is credit for, and reports whether that was all.
func (c *h2Conn) push(s *h2Stream) bool {
	for len(s.out) > 0 {
		n := min(int64(len(s.out)), s.credit, c.credit, 16384)
		if n <= 0 {
			return false
		}
		flags := byte(0)
		if int(n) == len(s.out) && !s.grpc {
			flags = flagEnd
		}
		c.out = appendFrame(c.out, frame{frameData, flags, s.id, s.out[:n]})
		s.out = s.out[n:]
		s.credit -= n
		c.credit -= n
	}
	if s.grpc {
		c.out = appendFrame(c.out, frame{frameHeaders, flagEndHeaders | flagEnd, s.id, c.fields.trailers()})
	}
	delete(c.streams, s.id)
	*s = h2Stream{in: s.in[:0]}
	c.free = append(c.free, s)
	return true
}

func (c *h2Conn) settings(payload []byte) {
	for ; len(payload) >= 6; payload = payload[6:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch binary.BigEndian.Uint16(payload) {
		case settingTableSize:
			c.fields.small = value < 512
		case settingWindow:
			for _, s := range c.streams {
				s.credit += int64(value) - c.streamCredit
			}
			c.streamCredit = int64(value)
		}
	}
	c.out = appendFrame(c.out, frame{kind: frameSettings, flags: flagEnd})
}

func (c *h2Conn) credited(id uint32, n int64) {
	if id == 0 {
		c.credit += n
	} else if s := c.streams[id]; s != nil {
		s.credit += n
	}
	waiting := c.blocked
	c.blocked = nil
	for _, s := range waiting {
		if c.streams[s.id] == s && !c.push(s) {
			c.blocked = append(c.blocked, s)
		}
	}
}

// fields writes the header blocks of responses. Their fields enter the table once,
// in the order in which they first occur, unless the peer's table is too small.
type fields struct {
	small         bool
	resized       bool
	sent, trailed bool
}

func (f *fields) response(grpc bool) []byte {
	kind := "text/plain"
	if grpc {
		kind = "application/grpc"
	}
	switch {
	case f.small:
		return plain(append(f.resize(), indexed(8)), 31, "", kind, 54, "", "h2be")
	case !f.sent:
		f.sent = true
		return appendLiteral(appendLiteral([]byte{indexed(8)}, 31, "", kind), 54, "", "h2be")
	case f.trailed:
		return []byte{indexed(8), indexed(65), indexed(64)}
	default:
		return []byte{indexed(8), indexed(63), indexed(62)}
	}
}

func (f *fields) trailers() []byte {
	switch {
	case f.small:
		return plain(nil, 0, "grpc-status", "0", 0, "grpc-message", "")
	case !f.trailed:
		f.trailed = true
		return appendLiteral(appendLiteral(nil, 0, "grpc-status", "0"), 0, "grpc-message", "")
	default:
		return []byte{indexed(63), indexed(62)}
	}
}

// resize says once that the table has become empty.
func (f *fields) resize() []byte {
	if f.resized {
		return nil
	}
	f.resized = true
	return []byte{0x20}
}

// plain appends two fields that stay out of the table.
func plain(b []byte, index1 byte, name1, value1 string, index2 byte, name2, value2 string) []byte {
	return plainField(plainField(b, index1, name1, value1), index2, name2, value2)
}

func plainField(b []byte, index byte, name, value string) []byte {
	switch {
	case index == 0:
		b = append(b, 0, byte(len(name)))
		b = append(b, name...)
	case index < 15:
		b = append(b, index)
	default:
		b = append(b, 0x0f, index-15)
	}
	b = append(b, byte(len(value)))
	return append(b, value...)
}
