package l7

import (
	"errors"
	"testing"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestOutcomesTellGRPCStatus: a breaker is to see that a 200 was a failure.
func TestOutcomesTellGRPCStatus(t *testing.T) {
	errCut := errors.New("cut")
	for name, tt := range map[string]struct {
		grpc          bool
		head, trailer string
		err           error
		want          int
	}{
		"in the head":          {true, "5", "13", nil, 5},
		"in the trailer":       {true, "", "13", nil, 13},
		"none":                 {true, "", "", nil, stack.NoGRPCStatus},
		"cut ahead of it":      {true, "", "0", errCut, stack.NoGRPCStatus},
		"nonsense":             {true, "x", "", nil, stack.GRPCUnknown},
		"not a gRPC request's": {false, "5", "13", nil, stack.NoGRPCStatus},
	} {
		resp := &stack.Response{Status: 200, Body: stack.Empty()}
		if tt.head != "" {
			resp.Header.Add("grpc-status", tt.head)
		}
		if tt.trailer != "" {
			resp.Body.Trailer().Add("grpc-status", tt.trailer)
		}
		o := &callObserver{grpc: tt.grpc}
		o.observe(resp)
		want := balance.Outcome{Status: 200, GRPC: tt.want, Err: tt.err}
		if got := o.outcome(tt.err); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
