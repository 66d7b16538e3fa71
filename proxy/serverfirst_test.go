package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// With these, what the server says first is the only way on.
var noDetectTimeout = []string{"LINKERD2_PROXY_INBOUND_DETECT_TIMEOUT=365d", "LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT=365d"}

// greeting starts a server that says hello, and then what it is told, to the end.
func greeting(tb testing.TB) string {
	tb.Helper()
	return replier(tb, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 hello\r\n")
		_, _ = io.Copy(c, c)
	})
}

// greeted has a client wait for what the server says, before it answers.
func welcomed(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || line != "220 hello\r\n" {
		t.Fatalf("the client was told %q, %v", line, err)
	}
	_, _ = io.WriteString(c, "GET me\r\n")
	_ = c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "GET me\r\n" {
		t.Fatalf("then the client was told %q, %v", rest, err)
	}
}

const detected = "tcp_detect_http_results_total"

func TestServerFirst(t *testing.T) {
	p := startPair(t, greeting(t), false, noDetectTimeout...)
	const conns = 5 // of which the last are of a server that is known to speak first
	for range conns {
		welcomed(t, p.addr)
	}
	for _, family := range []string{"inbound_" + detected, "outbound_" + detected} {
		s := p.inbound
		if family[0] == 'o' {
			s = p.outbound
		}
		if n := sumOf(s.metrics(), family, `result="server_first"`); n != conns {
			t.Errorf("%s: %d connections on which the server spoke first, not %d", family, n, conns)
		}
	}
}

// TestServerFirstOff goes by the clock, as without it.
func TestServerFirstOff(t *testing.T) {
	p := startPair(t, greeting(t), false, "OUTRIGGER_INBOUND_SERVER_SPEAKS_FIRST=0", "OUTRIGGER_OUTBOUND_SERVER_SPEAKS_FIRST=0",
		"LINKERD2_PROXY_INBOUND_DETECT_TIMEOUT=300ms", "LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT=300ms")
	welcomed(t, p.addr)
	if n := sumOf(p.outbound.metrics(), "outbound_"+detected, `result="read_timeout"`); n != 1 {
		t.Errorf("%d connections were opaque for want of bytes", n)
	}
}

// TestSlowClient asks for nothing until its server has been dialled, and is a
// client of HTTP all the same.
func TestSlowClient(t *testing.T) {
	app := origin(t, func(http.ResponseWriter, *http.Request) {})
	p := startPair(t, app, false, noDetectTimeout...)
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	dialed := func() bool { return sumOf(p.inbound.metrics(), "tcp_open_total", `peer="dst"`) > 0 }
	for deadline := time.Now().Add(patience); !dialed() && time.Now().Before(deadline); {
	}
	if !dialed() {
		t.Fatal("the application was never dialled")
	}
	_, _ = io.WriteString(c, asking)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%+v, %v", resp, err)
	}
	_ = resp.Body.Close()
	for direction, s := range map[string]*sidecar{"inbound": p.inbound, "outbound": p.outbound} {
		m := s.metrics()
		if n := sumOf(m, direction+"_"+detected, `result="http/1"`); n != 1 {
			t.Errorf("%s: %d connections of HTTP/1, not 1", direction, n)
		}
		if n := sumOf(m, "request_total", `direction="`+direction+`"`); n != 1 {
			t.Errorf("%s: %d requests, not 1", direction, n)
		}
	}
}

// TestServerFirstAsksPolicy has ports on which a silent client may not be taken
// for one of another protocol than HTTP.
func TestServerFirstAsksPolicy(t *testing.T) {
	app := netip.MustParseAddrPort(greeting(t))
	for name, test := range map[string]struct {
		change func(*policy.Policy)
		want   l4.Result
	}{
		"everyone":  {func(*policy.Policy) {}, l4.ServerFirst},
		"nobody":    {func(p *policy.Policy) { p.Authorizations = p.Authorizations[:1]; p.Authorizations[0].Networks = nil }, l4.ReadTimeout},
		"by routes": {func(p *policy.Policy) { p.ByRoute = true }, l4.ReadTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			var c Config
			c.Inbound.DetectTimeout, c.Inbound.ServerFirst, c.Inbound.Connect.Timeout = time.Second, 10*time.Millisecond, patience
			p := &Proxy{Config: c, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.New(telemetry.Options{})}
			i := p.inbound()
			i.policies = func(uint16) *policy.Policy {
				pol := policy.AllUnauthenticated(policy.Detect)
				test.change(pol)
				return pol
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			port, err := i.local(ctx, portKey{app, true})
			if err != nil {
				t.Fatal(err)
			}
			far, near := net.Pipe()
			defer far.Close()
			conn := &stack.Conn{Conn: near, Client: netip.MustParseAddrPort("10.0.0.1:1")}
			defer conn.Close()
			d, err := port.detect(ctx, conn)
			if d.Result != test.want || err != nil {
				t.Errorf("%+v, %v; want %s", d, err, test.want)
			}
			if (conn.Server != nil) != (test.want == l4.ServerFirst) {
				t.Errorf("the application was dialled: %v", conn.Server != nil)
			}
			if conn.Server != nil {
				_ = conn.Server.Close()
			}
			if name == "nobody" {
				if err := i.as(ctx, conn, port, (*served).asOpaque); !errors.Is(err, policy.ErrDenied) {
					t.Errorf("as opaque: %v", err)
				}
			}
		})
	}
}
