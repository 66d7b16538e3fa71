package stack_test

import (
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func TestResetErrorNamesItsCode(t *testing.T) {
	for want, err := range map[string]error{
		"stream was reset by the peer: CANCEL":               &stack.ResetError{Code: stack.Cancel},
		"stream was reset by the peer: error code 255":       &stack.ResetError{Code: 255},
		"content-length 3, 4 bytes received: PROTOCOL_ERROR": &stack.ResetError{Code: stack.ProtocolError, Cause: "content-length 3, 4 bytes received"},
		"stream was reset by the peer: HTTP_1_1_REQUIRED":    &stack.ResetError{Code: stack.HTTP11Required},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
