package main

import "encoding/binary"

// What RFC 9113 (section 6) and RFC 7541 number.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8

	flagEnd        = 1 // of the stream; of SETTINGS and PING: an answer
	flagEndHeaders = 4
	flagPadded     = 8

	settingTableSize = 1
	settingWindow    = 4

	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHead    = 9
	firstWindow  = 65535
	bigWindow    = 0xf0 << 16 // given to a connection at its start
	creditsAfter = 4 << 20    // so much is consumed before credit is given back
)

// A frame lies in what was received.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

// nextFrame cuts a frame off b.
func nextFrame(b []byte) (f frame, rest []byte, ok bool) {
	if len(b) < frameHead {
		return frame{}, b, false
	}
	n := frameHead + (int(b[0])<<16 | int(b[1])<<8 | int(b[2]))
	if len(b) < n {
		return frame{}, b, false
	}
	return frame{b[3], b[4], binary.BigEndian.Uint32(b[5:]) & 0x7fffffff, b[frameHead:n]}, b[n:], true
}

func (f frame) is(flag byte) bool { return f.flags&flag != 0 }

func appendFrame(b []byte, f frame) []byte {
	n := len(f.payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), f.kind, f.flags)
	b = binary.BigEndian.AppendUint32(b, f.stream)
	return append(b, f.payload...)
}

func appendCredit(b []byte, n uint32) []byte {
	return appendFrame(b, frame{kind: frameWindowUpdate, payload: binary.BigEndian.AppendUint32(nil, n)})
}

// appendLiteral appends a field that enters the table, without Huffman coding.
// Its name is an index of the static table, if that is not 0.
func appendLiteral(b []byte, index byte, name, value string) []byte {
	b = append(b, 0x40|index)
	if index == 0 {
		b = append(b, byte(len(name)))
		b = append(b, name...)
	}
	b = append(b, byte(len(value)))
	return append(b, value...)
}

// indexed is a field that is in a table: the static one's first 61, and then the
// newest that entered.
func indexed(index byte) byte { return 0x80 | index }
