package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startInbound starts a sidecar with a named inbound listener before app, and
// returns where that is.
func startInbound(tb testing.TB, app string, env ...string) (addr string, s *sidecar) {
	tb.Helper()
	addr = freeAddr(tb)
	s = startSidecar(tb, startController(tb, "services: []").addr, append(env, "OUTRIGGER_INBOUND_NAMED="+addr+"="+app)...)
	return addr, s
}

// eventually waits until the metrics have each of the lines: a series may come a
// moment after the answer that it counts.
func (s *sidecar) eventually(tb testing.TB, lines ...string) {
	tb.Helper()
	var lack []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		m := "\n" + s.metrics()
		lack = nil
		for _, line := range lines {
			if !strings.Contains(m, "\n"+line+"\n") {
				lack = append(lack, line)
			}
		}
		if len(lack) == 0 {
			return
		}
	}
	tb.Errorf("the metrics lack\n%s\nin\n%s", strings.Join(lack, "\n"), s.metrics())
}

// TestInboundHTTP1 counts a request, and removes what clients may not say.
func TestInboundHTTP1(t *testing.T) {
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"L5d-Client-Id", "L5d_client_id", "L5d_dst_canonical"} {
			if v := r.Header[name]; v != nil {
				t.Errorf("the application was told %s: %q", name, v)
			}
		}
		if got := r.Header.Get("l5d-dst-canonical"); got != "web:80" {
			t.Errorf("l5d-dst-canonical is %q; it passes through", got)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	addr, s := startInbound(t, app)
	got := send(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nL5d-Client-Id: forged\r\nl5d_client_id: forged\r\nL5D_DST_CANONICAL: forged\r\nl5d-dst-canonical: web:80\r\n\r\n")
	if got.status != http.StatusTeapot || got.cause() != "" {
		t.Errorf("%+v", got)
	}
	host, port, _ := net.SplitHostPort(app)
	target := fmt.Sprintf(`target_addr="%s",target_ip="%s",target_port="%s"`, app, host, port)
	const tls = `tls="no_identity",no_tls_reason="no_tls_from_remote"`
	srv := fmt.Sprintf(`srv_group="",srv_kind="default",srv_name="all-unauthenticated",srv_port="%s"`, port)
	const permit = `route_group="",route_kind="default",route_name="default",authz_group="",authz_kind="default",authz_name="all-unauthenticated"`
	labels := fmt.Sprintf(`direction="inbound",%s,%s,%s,%s`, target, tls, srv, permit)
	s.eventually(t,
		fmt.Sprintf(`request_total{%s} 1`, labels),
		fmt.Sprintf(`response_total{%s,status_code="418",classification="success",grpc_status="",error=""} 1`, labels),
		fmt.Sprintf(`response_latency_ms_count{%s,status_code="418"} 1`, labels),
		fmt.Sprintf(`tcp_open_total{direction="inbound",peer="src",%s,%s,%s} 1`, target, tls, srv),
		`tcp_open_total{direction="inbound",peer="dst",tls="no_identity",no_tls_reason="loopback"} 1`,
	)
}

// TestInboundAppDown answers for an application that is not there, and does not
// say why: the client may be anyone.
func TestInboundAppDown(t *testing.T) {
	for name, test := range map[string]struct {
		app    string
		status int
	}{
		"refused": {freeAddr(t), 502},
		"full":    {full(t), 504},
		"closes":  {saying(t, ""), 502},
		"garbage": {saying(t, "what?\r\n\r\n"), 502},
	} {
		t.Run(name, func(t *testing.T) {
			addr, s := startInbound(t, test.app)
			got := send(t, addr, asking)
			if got.status != test.status || !got.close || got.body != "" {
				t.Errorf("%+v; want %d", got, test.status)
			}
			for field := range got.header {
				if strings.HasPrefix(field, "L5d-") {
					t.Errorf("the client was told %s: %q", field, got.header[field])
				}
			}
			if m := s.metrics(); !strings.Contains(m, `inbound_http_errors_total{error="i/o"`) {
				t.Errorf("the error was not counted:\n%s", m)
			}
		})
	}
}

// TestInboundOpaque carries bytes of a port that is not looked at, so that its
// server may speak first, and of one that is.
func TestInboundOpaque(t *testing.T) {
	for _, skipped := range []bool{true, false} {
		app := replier(t, func(c net.Conn) {
			if skipped {
				_, _ = io.WriteString(c, "hello ")
			}
			_, _ = io.Copy(c, c)
		})
		host, port, _ := net.SplitHostPort(app)
		var env []string
		reason, text := "no_tls_from_remote", "\x00\x01"
		if skipped {
			reason, text = "port_skipped", "GET / HTTP/1.1\r\n\r\n" // which nobody is to look at
			env = append(env, "LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION="+port)
		}
		addr, s := startInbound(t, app, env...)
		c := dial(t, addr)
		if skipped {
			hello := make([]byte, len("hello "))
			if _, err := io.ReadFull(c, hello); err != nil || string(hello) != "hello " {
				t.Fatalf("%q, %v", hello, err)
			}
		}
		_, _ = io.WriteString(c, text)
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != text || err != nil {
			t.Errorf("skipped %t: %q, %v", skipped, got, err)
		}
		labels := fmt.Sprintf(`direction="inbound",peer="src",target_addr="%s",target_ip="%s",target_port="%s",tls="no_identity",no_tls_reason="%s",`+
			`srv_group="",srv_kind="default",srv_name="all-unauthenticated",srv_port="%s"`, app, host, port, reason, port)
		s.eventually(t,
			fmt.Sprintf(`tcp_open_total{%s} 1`, labels),
			fmt.Sprintf(`tcp_read_bytes_total{%s} %d`, labels, len(text)),
			fmt.Sprintf(`tcp_close_total{%s,errno=""} 1`, labels),
		)
		if m := s.metrics(); strings.Contains(m, "request_total{direction=\"inbound\"") {
			t.Error("bytes were counted as requests")
		}
	}
}

// TestInboundLoops connects to a sidecar's own ports, as nothing redirected would:
// it must not connect to itself.
func TestInboundLoops(t *testing.T) {
	in, out := freeAddr(t), freeAddr(t)
	startSidecar(t, startController(t, "services: []").addr,
		"LINKERD2_PROXY_INBOUND_LISTEN_ADDR="+in, "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR="+out)
	for _, addr := range []string{in, out} {
		wantReset(t, addr, "\x00 not HTTP")
		if got, err := trySend(addr, asking); err == nil && got.status < 500 {
			t.Errorf("%+v", got)
		}
	}
}
