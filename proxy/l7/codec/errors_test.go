package codec_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestSpent hides that nothing was sent, however deep that lies, and nothing else.
func TestSpent(t *testing.T) {
	reset := &stack.ResetError{Code: stack.Cancel}
	cause := fmt.Errorf("dial: %w: %w: %w", stack.ErrUnsent, io.ErrUnexpectedEOF, reset)
	for _, err := range []error{codec.Spent(cause), fmt.Errorf("server: %w", codec.Spent(cause)), codec.Spent(codec.Spent(cause))} {
		if errors.Is(err, stack.ErrUnsent) {
			t.Errorf("%v may be sent again", err)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			t.Errorf("%v is of another kind than its cause", err)
		}
		var found *stack.ResetError
		if !errors.As(err, &found) || found != reset {
			t.Errorf("in %v the reset is not found", err)
		}
	}
	if got := codec.Spent(cause).Error(); got != cause.Error() {
		t.Errorf("it says %q, want %q", got, cause)
	}
}

func TestResponseError(t *testing.T) {
	err := &codec.ResponseError{Reason: "no status"}
	if got := err.Error(); got != "refused response: no status" {
		t.Errorf("it says %q", got)
	}
}
