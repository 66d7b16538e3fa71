package h2

import (
	"encoding/binary"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A frameType says what a frame's content is (RFC 9113, section 6).
type frameType uint8

const (
	frameData frameType = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindowUpdate
	frameContinuation
)

// Flags, each of some types.
const (
	flagEndStream  = 0x01
	flagAck        = 0x01
	flagEndHeaders = 0x04
	flagPadded     = 0x08
	flagPriority   = 0x20
)

const (
	frameHeader  = 9         // bytes ahead of every content
	minFrameSize = 1 << 14   // what every peer takes
	maxFrameSize = 1<<24 - 1 // what can be written
	maxWindow    = 1<<31 - 1
	firstWindow  = 1<<16 - 1 // of every connection, and of a stream unless SETTINGS say otherwise
	lastStream   = 1<<31 - 1
	pingBytes    = 8
	settingBytes = 6
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// A frame is one of a batch that was received.
type frame struct {
	kind    frameType
	flags   uint8
	stream  uint32
	content []byte
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// frameLength returns the length of the content that a frame's header promises.
func frameLength(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// parseFrame returns the first frame in b, and its length with its header: zero if
// there is more to come.
func parseFrame(b []byte, limit int) (f frame, size int, err error) {
	if len(b) < frameHeader {
		return f, 0, nil
	}
	n := frameLength(b)
	if n > limit {
		return f, 0, &connError{stack.FrameSizeError, "frame is too long"}
	}
	if len(b) < frameHeader+n {
		return f, 0, nil
	}
	f = frame{frameType(b[3]), b[4], binary.BigEndian.Uint32(b[5:]) & lastStream, b[frameHeader : frameHeader+n]}
	return f, frameHeader + n, nil
}

// unpad takes the padding off f's content.
func (f *frame) unpad() error {
	if !f.has(flagPadded) {
		return nil
	}
	if len(f.content) == 0 {
		return &connError{stack.FrameSizeError, "padded frame without a length of its padding"}
	}
	pad := int(f.content[0])
	if f.content = f.content[1:]; pad > len(f.content) {
		return &connError{stack.ProtocolError, "padding is longer than its frame"}
	}
	f.content = f.content[:len(f.content)-pad]
	return nil
}

// appendFrame appends the header of a frame with a content of n bytes.
func appendFrame(b []byte, n int, t frameType, flags uint8, stream uint32) []byte {
	return append(b, byte(n>>16), byte(n>>8), byte(n), byte(t), flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendReset(b []byte, stream uint32, code stack.ErrCode) []byte {
	b = appendFrame(b, 4, frameReset, 0, stream)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendWindowUpdate(b []byte, stream uint32, n int) []byte {
	b = appendFrame(b, 4, frameWindowUpdate, 0, stream)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendPing(b []byte, data [pingBytes]byte, ack bool) []byte {
	flags := uint8(0)
	if ack {
		flags = flagAck
	}
	b = appendFrame(b, pingBytes, framePing, flags, 0)
	return append(b, data[:]...)
}

func appendGoAway(b []byte, last uint32, code stack.ErrCode, reason string) []byte {
	b = appendFrame(b, 8+len(reason), frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, reason...)
}
