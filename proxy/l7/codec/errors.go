package codec

import "errors"

// ErrClientGone is why an exchange ended whose client has left, or has reset it.
var ErrClientGone = errors.New("client closed the connection")

// A ResponseError says why a server's message was refused.
type ResponseError struct{ Reason string }

// Error implements error.
func (e *ResponseError) Error() string { return "refused response: " + e.Reason }
