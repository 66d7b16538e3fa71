package h2

import (
	"context"
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A connError ends a connection: the peer is told its code and reason by GOAWAY.
type connError struct {
	code   stack.ErrCode
	reason string
}

func (e *connError) Error() string { return fmt.Sprintf("HTTP/2 connection: %s: %s", e.code, e.reason) }

// A goAwayError is why a stream, or a connection, ended by the peer's GOAWAY.
type goAwayError struct {
	code   stack.ErrCode
	reason string // the peer's
}

func (e *goAwayError) Error() string {
	if e.reason == "" {
		return ErrGoAway.Error() + ": " + e.code.String()
	}
	return fmt.Sprintf("%v: %s: %s", ErrGoAway, e.code, codec.Quoted(e.reason))
}

func (e *goAwayError) Unwrap() error { return ErrGoAway }

// What ends a connection or an exchange.
var (
	// ErrNoAnswer means that a connection was lost on which a request had been
	// sent, without an answer. The request may have been executed.
	ErrNoAnswer = errors.New("server closed the connection without an answer")
	// ErrTruncated means that a connection was lost amid a body.
	ErrTruncated = errors.New("connection was lost before the body's end")
	// ErrGoAway means that the peer has ended the connection with an error of its own,
	// and with it what was under way.
	ErrGoAway = errors.New("peer ended the connection")
	// ErrKeepAlive means that the peer has not answered a PING in time.
	ErrKeepAlive = errors.New("peer does not answer keepalive pings")

	errLate    = errors.New("server's SETTINGS, or its header block, did not come in time")
	errOver    = errors.New("exchange is over")
	errDrained = errors.New("connection is over")
)

// codeOf returns the code by which a stream is reset for cause.
func codeOf(cause error, other stack.ErrCode) stack.ErrCode {
	var reset *stack.ResetError
	switch {
	case errors.As(cause, &reset):
		return reset.Code
	case errors.Is(cause, codec.ErrClientGone), errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		return stack.Cancel
	default:
		return other
	}
}
