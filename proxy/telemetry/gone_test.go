package telemetry

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestHTTPErrorsOfClientsThatLeft: what a client gave up is no failure of the proxy's.
func TestHTTPErrorsOfClientsThatLeft(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	left := errors.New("left")
	svc := m.HTTPErrors(Outbound, Labels{}, func(error) string { return "unexpected" })(
		func(context.Context, *stack.Request) (*stack.Response, error) { return nil, left })
	x := &stack.Exchange{}
	for range 2 { // the second after its client has left
		if _, err := svc(x, request("")); !errors.Is(err, left) {
			t.Error(err)
		}
		x.End(left)
	}
	equalLines(t, exposed(t, m, "outbound_http_errors_total"), `outbound_http_errors_total{error="unexpected"} 1`)
}
