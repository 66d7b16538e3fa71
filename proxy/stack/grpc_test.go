package stack_test

import (
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func TestGRPC(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/json": false, "": false,
	} {
		r := &stack.Request{}
		r.Header.Add("content-type", contentType)
		if r.GRPC() != want {
			t.Errorf("%q: %v, want %v", contentType, !want, want)
		}
	}
}

func TestGRPCStatus(t *testing.T) {
	for value, want := range map[string]int{
		"0": 0, "14": stack.GRPCUnavailable, "16": 16, "17": stack.GRPCUnknown, "-1": stack.GRPCUnknown,
		"": stack.GRPCUnknown, "256": stack.GRPCUnknown, "ok": stack.GRPCUnknown,
	} {
		var h stack.Header
		h.Add("grpc-status", value)
		if got := h.GRPCStatus(); got != want {
			t.Errorf("%q: %d, want %d", value, got, want)
		}
	}
	if got := new(stack.Header).GRPCStatus(); got != stack.NoGRPCStatus {
		t.Errorf("none: %d", got)
	}
}
