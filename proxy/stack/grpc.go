package stack

import (
	"strconv"
	"strings"
)

// The statuses of gRPC that the proxy itself gives or judges by, by gRPC's names.
const (
	NoGRPCStatus           = -1 // there is none, or not yet
	GRPCUnknown            = 2
	GRPCDeadlineExceeded   = 4
	GRPCNotFound           = 5
	GRPCPermissionDenied   = 7
	GRPCResourceExhausted  = 8
	GRPCFailedPrecondition = 9
	GRPCInternal           = 13
	GRPCUnavailable        = 14
	GRPCDataLoss           = 15
	lastGRPCStatus         = 16
)

// GRPC reports whether r's content is gRPC's, as it says itself.
func (r *Request) GRPC() bool {
	return strings.HasPrefix(r.Header.Get("content-type"), "application/grpc")
}

// GRPCStatus returns the gRPC status in h, which is a response's header or its
// trailer, or NoGRPCStatus. What is not one of gRPC's counts as UNKNOWN, so that a
// server cannot make numbers at will.
func (h *Header) GRPCStatus() int {
	if !h.Has("grpc-status") {
		return NoGRPCStatus
	}
	code, err := strconv.ParseUint(h.Get("grpc-status"), 10, 8)
	if err != nil || code > lastGRPCStatus {
		return GRPCUnknown
	}
	return int(code)
}
