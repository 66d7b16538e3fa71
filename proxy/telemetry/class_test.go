package telemetry

import (
	"errors"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestOutcomesByClass has a route whose profile says of 200 that it is a failure,
// of 503 that it is none, and nothing of others.
func TestOutcomesByClass(t *testing.T) {
	class := func(status int) (failure, decided bool) { return status == 200, status == 200 || status == 503 }
	for _, test := range []struct {
		name string
		resp *stack.Response
		want string // the labels of response_total
	}{
		{"a failure", response(200, "x"), `status_code="200",classification="failure",grpc_status="",error=""`},
		{"over gRPC's", response(200, "", "grpc-status", "0"), `status_code="200",classification="failure",grpc_status="",error=""`},
		{"a success", response(503, "x"), `status_code="503",classification="success",grpc_status="",error=""`},
		{"undecided", response(404, "x"), `status_code="404",classification="success",grpc_status="",error=""`},
		{"undecided failure", response(500, "x"), `status_code="500",classification="failure",grpc_status="",error=""`},
		{"undecided gRPC", response(201, "", "grpc-status", "13"), `status_code="201",classification="failure",grpc_status="13",error=""`},
		{
			"undecided, gRPC's trailer", withTrailer(response(500, "x"), "grpc-status", "0"),
			`status_code="500",classification="success",grpc_status="0",error=""`,
		},
		{
			"broken", &stack.Response{Status: 503, Body: &failing{err: errors.New("broken")}},
			`status_code="503",classification="failure",grpc_status="",error="unclassified"`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := New(Options{RetainIdle: time.Minute})
			r := request("")
			r.Class = class
			ask(t, m.Requests(Labels{}), r, test.resp, nil)
			equalLines(t, exposed(t, m, "response_total"), `response_total{`+test.want+`} 1`)
		})
	}
}
