package main

import (
	"encoding/binary"
	"net"
	"sync"
)

// streams sends on an HTTP/2 connection, each request on a stream of its own.
type streams struct {
	c    net.Conn
	l    *latencies
	grpc bool

	first, later []byte // the header block of the first request, and of those that find its fields in the table
	body         []byte // of gRPC: one message

	mu    sync.Mutex
	next  uint32
	since [1 << 16]int64 // when each was sent, by half its number
	out   []byte
}

func newStreams(o options, c net.Conn, l *latencies) *streams {
	s := &streams{c: c, l: l, grpc: o.proto == "grpc", next: 1}
	if s.grpc {
		s.grpcRequest(o.size)
	} else {
		s.getRequest(o.path)
	}
	hello := append([]byte(preface), appendFrame(nil, frame{kind: frameSettings, payload: []byte{0, settingWindow, 0, 0x10, 0, 0}})...)
	c.Write(appendCredit(hello, bigWindow))
	go s.read()
	return s
}

func (s *streams) getRequest(path string) {
	s.first = append(s.first, indexed(2), indexed(6)) // GET, http
	s.first = appendLiteral(s.first, 4, "", path)
	s.first = appendLiteral(s.first, 1, "", "bench.test")
	s.first = appendLiteral(s.first, 58, "", "lg/1")
	s.later = []byte{indexed(2), indexed(6), indexed(64), indexed(63), indexed(62)}
}

func (s *streams) grpcRequest(size int) {
	s.first = append(s.first, indexed(3), indexed(6)) // POST, http
	s.first = appendLiteral(s.first, 4, "", "/bench.Echo/Unary")
	s.first = appendLiteral(s.first, 1, "", "bench.test")
	s.first = appendLiteral(s.first, 31, "", "application/grpc")
	s.first = appendLiteral(s.first, 0, "te", "trailers")
	s.first = appendLiteral(s.first, 58, "", "grpc-lg/1")
	s.later = []byte{indexed(3), indexed(6), indexed(66), indexed(65), indexed(64), indexed(63), indexed(62)}
	s.body = append([]byte{0}, binary.BigEndian.AppendUint32(nil, uint32(size))...)
	s.body = append(s.body, make([]byte, size)...)
}

func (s *streams) send(_, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, block, flags := s.next, s.later, byte(flagEndHeaders|flagEnd)
	s.next += 2
	if id == 1 {
		block = s.first
	}
	if s.grpc {
		flags = flagEndHeaders
	}
	s.since[id>>1&0xffff] = now
	s.out = appendFrame(s.out[:0], frame{frameHeaders, flags, id, block})
	if s.grpc {
		s.out = appendFrame(s.out, frame{frameData, flagEnd, id, s.body})
	}
	s.write(s.out)
}

// write is called with the lock held.
func (s *streams) write(b []byte) {
	if _, err := s.c.Write(b); err != nil {
		s.l.bad.Add(1)
	}
}

func (s *streams) read() {
	in := input{c: s.c, b: make([]byte, 128<<10)}
	consumed := 0
	for {
		if in.more() != nil {
			s.l.bad.Add(1)
			return
		}
		rest := in.b[:in.n]
		for f, more, ok := nextFrame(rest); ok; f, more, ok = nextFrame(more) {
			rest = more
			s.frame(f, &consumed)
		}
		in.drop(in.n - len(rest))
	}
}

func (s *streams) frame(f frame, consumed *int) {
	switch f.kind {
	case frameData:
		if *consumed += len(f.payload); *consumed > creditsAfter {
			s.answer(appendCredit(nil, uint32(*consumed)))
			*consumed = 0
		}
	case frameSettings:
		if !f.is(flagEnd) {
			s.answer(appendFrame(nil, frame{kind: frameSettings, flags: flagEnd}))
		}
	case framePing:
		if !f.is(flagEnd) {
			s.answer(appendFrame(nil, frame{kind: framePing, flags: flagEnd, payload: f.payload}))
		}
	case frameReset, frameGoAway:
		s.l.bad.Add(1)
	}
	if (f.kind == frameData || f.kind == frameHeaders) && f.is(flagEnd) {
		s.mu.Lock()
		since := s.since[f.stream>>1&0xffff]
		s.mu.Unlock()
		s.l.record(monotonic() - since)
	}
}

func (s *streams) answer(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(b)
}
