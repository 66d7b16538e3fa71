package telemetry

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

var errExcluded = errors.New("excluded")

func kindOf(err error) string {
	switch {
	case errors.Is(err, errExcluded):
		return ""
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "i/o"
	default:
		return "unexpected"
	}
}

func TestHTTPErrors(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	target := Target(netip.MustParseAddrPort("127.0.0.1:80"))
	for _, err := range []error{io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, errExcluded, errors.New("x"), nil} {
		var resp *stack.Response
		if err == nil {
			resp = response(200, "")
		}
		ask(t, m.HTTPErrors(Outbound, Labels{}, kindOf), request(""), resp, err)
		ask(t, m.HTTPErrors(Inbound, target, kindOf), request(""), resp, err)
	}
	equalLines(t, exposed(t, m, "inbound_http_errors_total", "outbound_http_errors_total"),
		`inbound_http_errors_total{error="i/o",target_addr="127.0.0.1:80",target_ip="127.0.0.1",target_port="80"} 2`,
		`inbound_http_errors_total{error="unexpected",target_addr="127.0.0.1:80",target_ip="127.0.0.1",target_port="80"} 1`,
		`outbound_http_errors_total{error="i/o"} 2`, `outbound_http_errors_total{error="unexpected"} 1`)
}

func TestTCPErrors(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	labels := func(c *stack.Conn) Labels { return Target(c.OrigDst) }
	conn := &stack.Conn{OrigDst: netip.MustParseAddrPort("127.0.0.1:80")}
	for _, err := range []error{io.ErrUnexpectedEOF, errExcluded, nil} {
		for _, d := range []Direction{Inbound, Outbound} {
			serve := m.TCPErrors(d, labels, kindOf)(func(context.Context, *stack.Conn) error { return err })
			if got := serve(t.Context(), conn); !errors.Is(got, err) {
				t.Errorf("got %v, want %v", got, err)
			}
		}
	}
	equalLines(t, exposed(t, m, "inbound_tcp_errors_total", "outbound_tcp_errors_total"),
		`inbound_tcp_errors_total{error="i/o",target_addr="127.0.0.1:80",target_ip="127.0.0.1",target_port="80"} 1`,
		`outbound_tcp_errors_total{target_addr="127.0.0.1:80",target_ip="127.0.0.1",target_port="80",error="i/o"} 1`)
}

func TestDetectionShowsAllResults(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	m.Detection(Inbound, Label("srv_name", "web")).Observe(DetectTimeout, 50*time.Millisecond)
	equalLines(t, exposed(t, m, "inbound_tcp_detect"),
		`inbound_tcp_detect_http_duration_seconds_bucket{srv_name="web",le="0.001"} 0`,
		`inbound_tcp_detect_http_duration_seconds_bucket{srv_name="web",le="0.1"} 1`,
		`inbound_tcp_detect_http_duration_seconds_bucket{srv_name="web",le="+Inf"} 1`,
		`inbound_tcp_detect_http_duration_seconds_sum{srv_name="web"} 0.05`,
		`inbound_tcp_detect_http_duration_seconds_count{srv_name="web"} 1`,
		`inbound_tcp_detect_http_results_total{result="error",srv_name="web"} 0`,
		`inbound_tcp_detect_http_results_total{result="http/1",srv_name="web"} 0`,
		`inbound_tcp_detect_http_results_total{result="http/2",srv_name="web"} 0`,
		`inbound_tcp_detect_http_results_total{result="not_http",srv_name="web"} 0`,
		`inbound_tcp_detect_http_results_total{result="read_timeout",srv_name="web"} 1`,
		`inbound_tcp_detect_http_results_total{result="server_first",srv_name="web"} 0`)
}
