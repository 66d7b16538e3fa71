package tee

import (
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A State is how a message's content has ended.
type State uint8

// The states. Only a Complete content may be kept as the message's.
const (
	// Complete: it came whole, as its length, its last chunk or its END_STREAM says;
	// of gRPC, with its status.
	Complete State = iota
	// Unverified: it ended with its connection, and nothing tells a cut from the end.
	// All tunnels end so.
	Unverified
	// ServerFailed: the server broke off its response; or it answered without having
	// read all of the request.
	ServerFailed
	// ClientAbort: the client left before the end.
	ClientAbort
	// Timeout: its time was over.
	Timeout
	// CutShort: the proxy ended before it.
	CutShort
	states
)

// String returns the metrics' name for s.
func (s State) String() string {
	return [...]string{"complete", "unverified", "upstream_error", "client_abort", "timeout", "shutdown"}[s]
}

// A Reason is why a consumer is not, or no more, shown a message.
type Reason uint8

// The reasons.
const (
	attached Reason = iota // none
	Overrun                // it is further behind than it may be
	Budget                 // so it is for what is left of the budget of all
	Stalled                // it has read nothing for too long
	Failed                 // it returned an error
	Panicked               // it panicked
	Closed                 // it returned before the end
	TooMany                // the message, or the proxy, has as many consumers as it may
	Late                   // the message was being read already
	Tunnel                 // the message makes a tunnel, which it did not ask for
	Shutdown               // the proxy ends
	reasons
)

// String returns the metrics' name for r.
func (r Reason) String() string {
	return [...]string{
		"", "overrun", "budget", "stalled", "error", "panic", "closed", "too_many", "late", "tunnel", "shutdown",
	}[r]
}

// A DetachedError is what a consumer's Next fails with that was detached, and what
// one is refused with.
type DetachedError struct{ Reason Reason }

// Error implements error.
func (e *DetachedError) Error() string { return "consumer was detached: " + e.Reason.String() }

// A BrokenError is what Next fails with after a content that is not Complete.
type BrokenError struct {
	State State
	Cause error // nil if Unverified
}

// Error implements error.
func (e *BrokenError) Error() string {
	if e.Cause == nil {
		return "content is " + e.State.String()
	}
	return fmt.Sprintf("content is not complete: %s: %v", e.State, e.Cause)
}

// Unwrap returns the cause.
func (e *BrokenError) Unwrap() error { return e.Cause }

// What makes a content that seems to have ended well incomplete.
var (
	// ErrLength means that a content has not the length that its head declares.
	ErrLength = errors.New("content does not have its declared length")
	// ErrNoStatus means that a gRPC response ended without a status.
	ErrNoStatus = errors.New("gRPC response ended without a status")
)

// An End is the last that is to be said of a content.
type End struct {
	State   State
	Err     error        // why it is not Complete; nil if it is, or Unverified
	Bytes   int64        // that were read of it
	Trailer stack.Header // a copy, empty unless it is Complete
}
