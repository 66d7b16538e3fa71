package telemetry

import (
	"context"
	"errors"
	"strconv"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// An outcome is how a request ended, as the labels of response_total tell it.
type outcome struct {
	status int    // 0: there was no response
	code   int    // gRPC's status, or stack.NoGRPCStatus
	failed bool   // the label classification
	err    string // the label error
}

// outcome classifies the exchange, whose response has ended with err.
func (x *exchange) outcome(err error) outcome {
	switch {
	case err != nil && !errors.Is(err, stack.ErrClosed) && !gone(x.ctx):
		return outcome{status: x.status, code: stack.NoGRPCStatus, failed: true, err: x.text(err)}
	case x.class != nil:
		return x.classOutcome()
	case x.grpc:
		return x.grpcOutcome()
	default:
		return outcome{status: x.status, code: stack.NoGRPCStatus, failed: x.status/100 == 5}
	}
}

// grpcOutcome goes by the gRPC status. Where there is none, Linkerd shows UNKNOWN
// but counts a success, and so does this.
func (x *exchange) grpcOutcome() outcome {
	code := x.grpcCode()
	if code == stack.NoGRPCStatus {
		return outcome{status: x.status, code: stack.GRPCUnknown}
	}
	return outcome{status: x.status, code: code, failed: grpcFailure(code)}
}

// classOutcome goes by the route's classes. What they leave undecided is gRPC if
// the response says so: who asked does not matter here, as in Linkerd.
func (x *exchange) classOutcome() outcome {
	if failed, decided := x.class(x.status); decided {
		return outcome{status: x.status, code: stack.NoGRPCStatus, failed: failed}
	}
	if code := x.grpcCode(); code != stack.NoGRPCStatus {
		return outcome{status: x.status, code: code, failed: grpcFailure(code)}
	}
	return outcome{status: x.status, code: stack.NoGRPCStatus, failed: x.status/100 == 5}
}

// grpcCode returns the gRPC status that the head tells, or else the trailer.
func (x *exchange) grpcCode() int {
	if x.code == stack.NoGRPCStatus && x.body != nil {
		return x.body.Trailer().GRPCStatus()
	}
	return x.code
}

// grpcFailure reports whether the fault is the server's, as Linkerd sees it.
func grpcFailure(code int) bool {
	switch code {
	case stack.GRPCUnknown, stack.GRPCDeadlineExceeded, stack.GRPCPermissionDenied,
		stack.GRPCInternal, stack.GRPCUnavailable, stack.GRPCDataLoss:
		return true
	default:
		return false
	}
}

// text returns the label error.
func (m *Metrics) text(err error) string {
	if m.cause != nil {
		if text := m.cause(err); text != "" {
			return text
		}
	}
	return "unclassified"
}

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// labels returns o's labels in Linkerd's order.
func (o outcome) labels() Labels {
	classification, code := "success", ""
	if o.failed {
		classification = "failure"
	}
	if o.code != stack.NoGRPCStatus {
		code = strconv.Itoa(o.code)
	}
	return statusLabels(o.status).With("classification", classification).
		With("grpc_status", code).With("error", o.err)
}

// statusLabels returns status_code, or nothing if there was no response.
func statusLabels(status int) Labels {
	if status == 0 {
		return Labels{}
	}
	return Label("status_code", strconv.Itoa(status))
}
