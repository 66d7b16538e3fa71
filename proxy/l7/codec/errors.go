package codec

import (
	"errors"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// ErrClientGone is why an exchange ended whose client has left, or has reset it.
var ErrClientGone = errors.New("client closed the connection")

// A ResponseError says why a server's message was refused.
type ResponseError struct{ Reason string }

// Error implements error.
func (e *ResponseError) Error() string { return "refused response: " + e.Reason }

// Spent returns cause as the error of a request that is not to be sent again,
// although cause may say that no peer has seen it: something of its body is gone.
func Spent(cause error) error { return &spent{cause} }

type spent struct{ cause error }

func (e *spent) Error() string { return e.cause.Error() }

// Is hides stack.ErrUnsent, and nothing else.
func (e *spent) Is(target error) bool {
	return target != stack.ErrUnsent && errors.Is(e.cause, target)
}

// As finds what is in the cause.
func (e *spent) As(target any) bool { return errors.As(e.cause, target) }
