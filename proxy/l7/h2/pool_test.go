package h2_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestResetBeforeTheEnd gives requests up amid their content, each with its code, on a
// Pool that ends at the same moment: the server is to see the code, and not merely
// that the connection has gone.
func TestResetBeforeTheEnd(t *testing.T) {
	begun, seen := make(chan struct{}, 1), make(chan error, 1)
	at := serve(t, func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		_, err := r.Body.Next(ctx)
		begun <- struct{}{}
		for err == nil {
			_, err = r.Body.Next(ctx)
		}
		seen <- err
		return nil, err
	}, params())
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		pl := h2.NewPool(ctx, l4.Dial(l4.DialConfig{AllowLoopback: true}, netip.MustParseAddrPort(at)), params(), nil)
		r := &stack.Request{Version: stack.HTTP2, Method: "POST", Scheme: "http", Authority: "a", Path: "/", Body: &failing{Body: stack.Empty(), when: begun}}
		_, err := pl.Do(t.Context(), r)
		cancel()
		var reset *stack.ResetError
		if !errors.As(err, &reset) || reset.Code != stack.EnhanceYourCalm {
			t.Fatalf("the client's error is %v", err)
		}
		if err := <-seen; !errors.As(err, &reset) || reset.Code != stack.EnhanceYourCalm {
			t.Fatalf("the server saw %v", err)
		}
	}
}

// failing is a body that is reset after its first chunk.
type failing struct {
	stack.Body
	begun bool
	when  chan struct{}
}

func (f *failing) Next(context.Context) ([]byte, error) {
	if !f.begun {
		f.begun = true
		return []byte("begun"), nil
	}
	<-f.when
	return nil, &stack.ResetError{Code: stack.EnhanceYourCalm}
}

func (f *failing) Size() (int64, bool) { return 0, false }
func (f *failing) AtHand() bool        { return !f.begun }
