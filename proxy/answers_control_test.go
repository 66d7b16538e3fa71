package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/outrigger-mesh/outrigger/discover"
)

// silent returns the address of a control plane that takes connections and says
// nothing.
func silent(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// startNamed starts a sidecar with one named listener for webHost, and returns
// where that is.
func startNamed(tb testing.TB, control string, env ...string) (addr string) {
	tb.Helper()
	addr = freeAddr(tb)
	startSidecar(tb, control, append(env, "OUTRIGGER_OUTBOUND_NAMED="+addr+"="+webHost+":80")...)
	return addr
}

// TestAnswersForControlPlanes has control planes that do not say where to go.
func TestAnswersForControlPlanes(t *testing.T) {
	nobody := startController(t, "services: []")
	for _, test := range []struct {
		name, control string
		status        int
		cause         string
	}{
		{"unknown name", nobody.addr, 502, `"web.demo.svc.cluster.local:80": unknown name`},
		{"silent", silent(t), 503, "no answer from the control plane within 3s"},
		{"refused", freeAddr(t), 503, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addr := startNamed(t, test.control)
			quiet := startNamed(t, test.control, "LINKERD2_PROXY_OUTBOUND_DISABLE_INFORMATIONAL_HEADERS=true")
			start := time.Now()
			var asked sync.WaitGroup // at once, since each waits for as long as any
			asked.Go(func() { wantReset(t, addr, "\x00 not HTTP") })
			asked.Go(func() {
				got, err := trySend(quiet, asking)
				if err != nil || got.status != test.status || got.cause() != "" {
					t.Errorf("quiet: %+v, %v; want %d and no word of why", got, err, test.status)
				}
			})
			got, err := trySend(addr, asking)
			if err != nil || got.status != test.status || !got.close || !strings.Contains(got.cause(), test.cause) || !strings.Contains(got.cause(), webHost) {
				t.Errorf("%+v, %v; want %d, and why", got, err, test.status)
			}
			asked.Wait()
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("answered after %v", took)
			}
		})
	}
}

// wantReset fails the test unless a connection on which text was sent is reset:
// any other end would look like an answer.
func wantReset(tb testing.TB, addr, text string) {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return // sooner than the dial could see that it had succeeded
	}
	if err != nil {
		tb.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err = io.WriteString(c, text); err == nil {
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		tb.Errorf("%q ended with %v; want a reset", text, err)
	}
}

// oneEndpoint is the update that adds an endpoint, with an identity.
func oneEndpoint(addr string, id *destpb.TlsIdentity) *destpb.Update {
	w := &destpb.WeightedAddr{Addr: discover.ToTCPAddress(netip.MustParseAddrPort(addr)), Weight: 1, TlsIdentity: id}
	return &destpb.Update{Update: &destpb.Update_Add{Add: &destpb.WeightedAddrSet{Addrs: []*destpb.WeightedAddr{w}}}}
}

// TestAnswersForIdentities has an endpoint with an identity, to which nothing may
// be said in the clear.
func TestAnswersForIdentities(t *testing.T) {
	for name, id := range map[string]*destpb.TlsIdentity{
		"dns": {Strategy: &destpb.TlsIdentity_DnsLikeIdentity_{DnsLikeIdentity: &destpb.TlsIdentity_DnsLikeIdentity{Name: "web.demo.id"}}},
		"uri": {Strategy: &destpb.TlsIdentity_UriLikeIdentity_{UriLikeIdentity: &destpb.TlsIdentity_UriLikeIdentity{Uri: "spiffe://web.demo.id"}}, ServerName: &destpb.TlsIdentity_DnsLikeIdentity{Name: "web.demo.id"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := replier(t, func(c net.Conn) { t.Error("the endpoint was connected to") })
			f := &fakeControl{
				update:  oneEndpoint(server, id),
				profile: &destpb.DestinationProfile{FullyQualifiedName: webHost},
			}
			addr := startNamed(t, f.start(t))
			got := send(t, addr, asking)
			if got.status != 502 || !strings.Contains(got.cause(), "endpoint does not have the required identity") || !strings.Contains(got.cause(), "web.demo.id") {
				t.Errorf("%+v; want 502, and which identity", got)
			}
			wantReset(t, addr, "\x00 not HTTP")
		})
	}
}

// TestAnswersForUnknownBackends has a route to a name that nobody knows.
func TestAnswersForUnknownBackends(t *testing.T) {
	f := &fakeControl{profile: &destpb.DestinationProfile{FullyQualifiedName: webHost}}
	addr := startNamed(t, f.start(t), "LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT=100ms")
	for _, when := range []string{"waited for", "failing fast"} {
		if got := send(t, addr, asking); got.status != 503 || !strings.Contains(got.cause(), "knows no such destination") {
			t.Errorf("%s: %+v; want 503, and why", when, got)
		}
	}
}

// policyOf is a policy with the routes given, for HTTP/1 and for bytes. In them
// DIST stands for a balancer over webHost's endpoints.
func policyOf(tb testing.TB, http, opaque string) *pb.OutboundPolicy {
	tb.Helper()
	p := new(pb.OutboundPolicy)
	text := `{"metadata": {"default": "test"}, "protocol": {"detect": {"timeout": "10s",
		"http1": {"routes": [` + http + `]}, "http2": {"routes": []}, "opaque": {"routes": [` + opaque + `]}}}}`
	if err := protojson.Unmarshal([]byte(strings.ReplaceAll(text, "DIST", `{"firstAvailable": {"backends": [{"backend": {
		"metadata": {"default": "test"}, "queue": {"capacity": 1, "failfastTimeout": "1s"},
		"balancer": {"discovery": {"dst": {"path": "web.demo.svc.cluster.local:80"}},
		"peakEwma": {"defaultRtt": "0.03s", "decay": "10s"}}}}]}}`)), p); err != nil {
		tb.Fatal(err)
	}
	return p
}

// TestAnswersOfPolicies has policies that do not let every request through.
func TestAnswersOfPolicies(t *testing.T) {
	for _, test := range []struct {
		name, http string
		status     int
		cause      string
		close      bool
	}{
		{"sound", `{"metadata": {"default": "r"}, "rules": [{"backends": DIST}]}`, 200, "", false},
		{"injector", `{"metadata": {"default": "r"}, "rules": [{"backends": DIST, "filters": [{"failureInjector": {"status": 418, "message": "no tea"}}]}]}`, 418, "no tea", false},
		{"no route", ``, 404, "no route", false},
		{"another host", `{"hosts": [{"exact": "other"}], "rules": [{"backends": DIST}]}`, 404, "no route", false},
		{"no backend", `{"metadata": {"default": "r"}, "rules": [{"backends": {"empty": {}}}]}`, 503, "no backend", true},
		{"no distribution", `{"metadata": {"default": "r"}, "rules": [{}]}`, 500, "invalid client policy", true},
		{"bad filter", `{"metadata": {"default": "r"}, "rules": [{"backends": DIST, "filters": [{"failureInjector": {"status": 9}}]}]}`, 500, "invalid client policy", true},
		{"filter of the future", `{"metadata": {"default": "r"}, "rules": [{"backends": DIST, "filters": [{}]}]}`, 500, "invalid client policy", true},
		{"not built", `{"metadata": {"default": "r"}, "rules": [{"backends": DIST, "filters": [{"redirect": {"host": "x"}}]}]}`, 500, "not supported yet", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			reached := make(chan struct{}, 1)
			server := replier(t, func(c net.Conn) {
				reached <- struct{}{}
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			})
			f := &fakeControl{update: oneEndpoint(server, nil), policy: policyOf(t, test.http, "")}
			addr := startNamed(t, f.start(t))
			got := send(t, addr, asking)
			if got.status != test.status || got.close != test.close || !strings.Contains(got.cause(), test.cause) {
				t.Errorf("%+v; want %d, close %t, for %q", got, test.status, test.close, test.cause)
			}
			if len(reached) > 0 && test.status != 200 {
				t.Error("the server was reached all the same")
			}
		})
	}
}

// TestRefusedByPolicies has policies that refuse what is not HTTP.
func TestRefusedByPolicies(t *testing.T) {
	for name, opaque := range map[string]string{
		"forbidden":    `{"metadata": {"default": "r"}, "rules": [{"backends": DIST, "filters": [{"forbidden": {}}]}]}`,
		"invalid":      `{"metadata": {"default": "r"}, "rules": [{"backends": DIST, "filters": [{"invalid": {}}]}]}`,
		"no route":     ``,
		"no backend":   `{"metadata": {"default": "r"}, "rules": [{"backends": {"empty": {}}}]}`,
		"of no kind":   `{"metadata": {"default": "r"}, "rules": [{"backends": DIST, "filters": [{}]}]}`,
		"two rules":    `{"metadata": {"default": "r"}, "rules": [{"backends": DIST}, {"backends": DIST}]}`,
		"no rule":      `{"metadata": {"default": "r"}, "rules": []}`,
		"no endpoints": `{"metadata": {"default": "r"}, "rules": [{"backends": DIST}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			server := replier(t, func(net.Conn) { t.Error("the server was reached") })
			f := &fakeControl{update: oneEndpoint(server, nil), policy: policyOf(t, "", opaque)}
			if name == "no endpoints" {
				f.update = &destpb.Update{Update: &destpb.Update_NoEndpoints{NoEndpoints: &destpb.NoEndpoints{Exists: true}}}
			}
			wantReset(t, startNamed(t, f.start(t), "LINKERD2_PROXY_OUTBOUND_TCP_FAILFAST_TIMEOUT=100ms"), "\x00 not HTTP")
		})
	}
	refused := startController(t, meshYAML(serviceYAML(webHost, true, freeAddr(t))))
	wantReset(t, startNamed(t, refused.addr), "\x00 not HTTP")
}

// TestInvalidPolicy has a policy of a kind that this proxy does not know.
func TestInvalidPolicy(t *testing.T) {
	f := &fakeControl{policy: &pb.OutboundPolicy{Protocol: &pb.ProxyProtocol{}}}
	addr := startNamed(t, f.start(t))
	if got := send(t, addr, asking); got.status != 500 || !strings.Contains(got.cause(), "invalid client policy configuration") {
		t.Errorf("%+v; want 500, and why", got)
	}
	wantReset(t, addr, "\x00 not HTTP")
}
