package l4

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Protocol is what a connection turned out to speak.
type Protocol uint8

// The protocols that Detect tells apart.
const (
	Opaque Protocol = iota // anything else
	HTTP1
	HTTP2
)

// String returns the protocol's name, as Linkerd's metrics have it.
func (p Protocol) String() string {
	switch p {
	case Opaque:
		return "opaque"
	case HTTP1:
		return "http/1"
	case HTTP2:
		return "http/2"
	}
	return fmt.Sprintf("Protocol(%d)", uint8(p))
}

// A Result is how detection ended, as Linkerd's metrics name it.
type Result string

// The results of detection.
const (
	DetectedHTTP1 Result = "http/1"
	DetectedHTTP2 Result = "http/2"
	NotHTTP       Result = "not_http"
	ReadTimeout   Result = "read_timeout" // opaque, for want of bytes
	ReadError     Result = "error"
	ServerFirst   Result = "server_first" // opaque, since the server spoke before the client
)

// A Detection is what is known of a connection once it was looked at.
type Detection struct {
	Protocol Protocol
	Result   Result
	Elapsed  time.Duration
}

// A DetectConfig bounds detection.
type DetectConfig struct {
	// Timeout is how long to wait for bytes that decide. Zero: for ever.
	Timeout time.Duration
}

// ErrClosedEarly means that the client closed the connection before it sent
// anything.
var ErrClosedEarly = errors.New("socket closed before protocol detection")

// detectBytes is how much of a connection is looked at.
const detectBytes = 1024

// Detect says what c speaks by its first bytes, without consuming them. It waits
// for as long as they may still become HTTP and no longer. After the timeout, or
// when the client has ended its half with the question open, c counts as opaque.
//
// An error means that nothing can be done with c, which is the caller's to close.
// Detect clears c's read deadline. To end it early, close c.
func Detect(c *stack.Conn, cfg DetectConfig) (Detection, error) {
	return detectSince(c, time.Now(), cfg.Timeout)
}

// detectSince is Detect for a time that began at start.
func detectSince(c *stack.Conn, start time.Time, timeout time.Duration) (Detection, error) {
	if timeout > 0 {
		if err := c.SetReadDeadline(start.Add(timeout)); err != nil {
			return Detection{Result: ReadError}, fmt.Errorf("detect protocol: %w", err)
		}
		defer func() { _ = c.SetReadDeadline(time.Time{}) }() // fails on a closed connection only
	}
	p, r, err := detect(c)
	return Detection{Protocol: p, Result: r, Elapsed: time.Since(start)}, err
}

func detect(c *stack.Conn) (Protocol, Result, error) {
	for seen := 0; ; {
		b, err := c.Peek(seen + 1)
		switch p, certain := classify(b); {
		case certain && p == HTTP1:
			return HTTP1, DetectedHTTP1, nil
		case certain && p == HTTP2:
			return HTTP2, DetectedHTTP2, nil
		case certain:
			return Opaque, NotHTTP, nil
		}
		if seen = len(b); err != nil {
			r, err := undecided(seen, err)
			return Opaque, r, err
		}
	}
}

// undecided says what becomes of a connection whose first bytes left the question
// open when err ended them.
func undecided(seen int, err error) (Result, error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReadTimeout, nil
	case errors.Is(err, io.EOF) && seen > 0:
		return NotHTTP, nil // the end will be forwarded after them
	case errors.Is(err, io.EOF):
		return ReadError, ErrClosedEarly
	default:
		return ReadError, fmt.Errorf("detect protocol: %w", err)
	}
}
