package stack

import "fmt"

// A ResetError is why a stream of HTTP/2 ended before its end. A codec fails with
// it when its peer has reset a stream; and a body that is closed with one in its
// cause is reset with that code, so that codes pass through the proxy unchanged.
type ResetError struct {
	Code  ErrCode
	Cause string // what the proxy itself found; empty if the peer reset the stream
}

// Error implements error.
func (e *ResetError) Error() string {
	if e.Cause == "" {
		return "stream was reset by the peer: " + e.Code.String()
	}
	return e.Cause + ": " + e.Code.String()
}

// An ErrCode says why a stream, or a connection, ends (RFC 9113, section 7).
type ErrCode uint32

// The codes, by the RFC's names.
const (
	NoError ErrCode = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

// String returns the code as the RFC writes it.
func (c ErrCode) String() string {
	names := [...]string{
		"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
		"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
		"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("error code %d", uint32(c))
}
