package h1

import (
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

// A RequestError says why a client's message was refused, and with which status.
type RequestError struct {
	Status int
	Reason string // quotes whatever it repeats of the message
}

// Error implements error.
func (e *RequestError) Error() string { return fmt.Sprintf("refused request: %s", e.Reason) }

// A ResponseError says why a server's message was refused.
type ResponseError = codec.ResponseError

// What ends an exchange.
var (
	// ErrClientGone is why an exchange ended whose client has left.
	ErrClientGone = codec.ErrClientGone
	// ErrNoAnswer means that a server closed the connection on which a request
	// was sent without answering it. The request may have been executed.
	ErrNoAnswer = errors.New("server closed the connection without an answer")
	// ErrTruncated means that a body ended before its length.
	ErrTruncated = errors.New("body ended before its length")
)

// errOver ends an exchange whose response is complete.
var errOver = errors.New("exchange is over")

// A malformation is a fault in a head, a chunk or a trailer, before it is known
// whose message it is in.
type malformation struct {
	status int // that a client is answered with
	reason string
}

func (m *malformation) Error() string { return m.reason }

func malformed(format string, args ...any) error {
	return &malformation{400, fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) error {
	return &malformation{431, fmt.Sprintf(format, args...)}
}

// ofRequest makes a malformation a RequestError.
func ofRequest(err error) error {
	var m *malformation
	if errors.As(err, &m) {
		return &RequestError{m.status, m.reason}
	}
	return err
}

// ofResponse makes a malformation a ResponseError.
func ofResponse(err error) error {
	var m *malformation
	if errors.As(err, &m) {
		return &ResponseError{Reason: m.reason}
	}
	return err
}
