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
	code   int    // gRPC's status, or noCode
	failed bool   // the label classification
	err    string // the label error
}

// noCode stands for a gRPC status that there is not, or not yet.
const noCode = -1

// unknown is gRPC's status UNKNOWN.
const unknown = 2

// outcome classifies the exchange, whose response has ended with err.
func (x *exchange) outcome(err error) outcome {
	switch {
	case err != nil && !errors.Is(err, stack.ErrClosed) && !gone(x.ctx):
		return outcome{status: x.status, code: noCode, failed: true, err: x.text(err)}
	case x.grpc:
		return x.grpcOutcome()
	default:
		return outcome{status: x.status, code: noCode, failed: x.status/100 == 5}
	}
}

// grpcOutcome goes by grpc-status, in the head or else in the trailer. Where
// there is none, Linkerd shows UNKNOWN but counts a success, and so does this.
func (x *exchange) grpcOutcome() outcome {
	code := x.code
	if code == noCode && x.body != nil {
		code = codeOf(x.body.Trailer())
	}
	if code == noCode {
		return outcome{status: x.status, code: unknown}
	}
	return outcome{status: x.status, code: code, failed: grpcFailure(code)}
}

// grpcFailure reports whether the fault is the server's: UNKNOWN,
// DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, UNAVAILABLE or DATA_LOSS.
func grpcFailure(code int) bool {
	switch code {
	case unknown, 4, 7, 13, 14, 15:
		return true
	default:
		return false
	}
}

// codeOf returns the gRPC status in h. What is not one of gRPC's counts as
// UNKNOWN, so that a server cannot make series at will.
func codeOf(h *stack.Header) int {
	if !h.Has("grpc-status") {
		return noCode
	}
	code, err := strconv.ParseUint(h.Get("grpc-status"), 10, 8)
	if err != nil || code > 16 {
		return unknown
	}
	return int(code)
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
	if o.code != noCode {
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
