package proxy

import (
	"context"
	gotls "crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
	"github.com/outrigger-mesh/outrigger/tls"
)

// directly serves the direct stack as web.test until the test ends, and returns
// where. Its TLS is the standard library's.
func directly(t *testing.T, ca *meshCA, policies func(uint16) *policy.Policy) string {
	t.Helper()
	c, _, err := ReadEnv([]string{
		"OUTRIGGER_UNMESHED=true", "LINKERD2_PROXY_DESTINATION_SVC_ADDR=127.0.0.1:1",
		"LINKERD2_PROXY_POLICY_SVC_ADDR=127.0.0.1:1", "LINKERD2_PROXY_POLICY_WORKLOAD=test:test",
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Config: c, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.New(telemetry.Options{RetainIdle: time.Minute})}
	i := p.inbound()
	t.Cleanup(i.close)
	i.policies = policies
	l, err := l4.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), l4.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	i.Config.Inbound.Listen = []netip.AddrPort{at}
	i.Config.Inbound.DetectTimeout = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- l4.Serve(ctx, l, l4.Fixed(at)(i.direct("web.test", handshakeOf(ca))), l4.ServeConfig{Log: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return at.String()
}

func handshakeOf(ca *meshCA) l4.Handshake {
	cfg := &gotls.Config{
		MinVersion: gotls.VersionTLS13, Certificates: []gotls.Certificate{ca.certify("web.test")},
		ClientAuth: gotls.VerifyClientCertIfGiven, ClientCAs: ca.roots, NextProtos: []string{l4.HeaderALPN},
	}
	return func(ctx context.Context, c *stack.Conn) (net.Conn, tls.ID, string, error) {
		within := gotls.Server(c, cfg)
		if err := within.HandshakeContext(ctx); err != nil {
			return nil, "", "", err
		}
		peer := tls.ID("")
		if certs := within.ConnectionState().PeerCertificates; len(certs) > 0 {
			peer = tls.ID(certs[0].DNSNames[0])
		}
		return within, peer, within.ConnectionState().NegotiatedProtocol, nil
	}
}

func everyone(uint16) *policy.Policy { return policy.AllUnauthenticated(policy.Detect) }

func portOf(t *testing.T, addr string) int {
	t.Helper()
	return int(netip.MustParseAddrPort(addr).Port())
}

// TestDirectSessions has the other sidecar reach applications by header: bytes,
// HTTP/1 that is carried, HTTP/1 as it is, and HTTP/1 and HTTP/2 through openssl.
func TestDirectSessions(t *testing.T) {
	ca := newMeshCA(t)
	addr := directly(t, ca, everyone)
	client := meshClient{ca, "client.test"}
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s%s %s id=%q proto=%q %q", r.Proto, r.Host, r.URL.Path, r.Method, r.Header["L5d-Client-Id"], r.Header["L5d-Orig-Proto"], body)
	})
	port := portOf(t, app)

	c, err := client.header(t.Context(), addr, "web.test", port, peerHTTP2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, body, err := client.carried(t.Context(), c, "app.test", "/x", "body")
	if want := `HTTP/1.1 app.test/x POST id=["client.test"] proto=[] "body"`; err != nil || body != want || resp.Header.Get("l5d-orig-proto") != "HTTP/1.1" {
		t.Errorf("carried: %v, %q, %v; want %q", resp, body, err, want)
	}
	const request = "GET /y HTTP/1.1\r\nHost: app.test\r\nl5d-client-id: forged\r\nConnection: close, l5d-client-id\r\n\r\n"
	const want = `HTTP/1.1 app.test/y GET id=["client.test"] proto=[] ""`
	for name, s := range map[string]peerSession{"HTTP/1": peerHTTP1, "bytes": peerBytes} {
		c, err := client.header(t.Context(), addr, "web.test", port, s)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		got, err := echoed(c, request)
		if as := map[bool]string{true: want, false: `id=["forged"]`}[s == peerHTTP1]; err != nil || !strings.Contains(got, as) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, as)
		}
	}
	if out := ca.openssl(addr, "web.test", "client.test", string(peerHeader(port, "", peerHTTP1))+request, "-alpn", peerALPN, "-quiet"); !strings.Contains(out, want) {
		t.Errorf("openssl is told\n%s", out)
	}
}

// TestDirectIsClosed: whatever is wrong with it, the connection ends without a word
// of an application.
func TestDirectIsClosed(t *testing.T) {
	ca := newMeshCA(t)
	app := origin(t, func(http.ResponseWriter, *http.Request) { t.Error("it is let through") })
	port := portOf(t, app)
	addr := directly(t, ca, func(p uint16) *policy.Policy {
		all := policy.AllUnauthenticated(policy.Detect)
		if int(p) == port {
			all.Authorizations[0].Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		return all
	})
	client, nobody, stranger := meshClient{ca, "client.test"}, meshClient{ca, ""}, meshClient{newMeshCA(t), "client.test"}
	stranger.ca.roots = ca.roots // it believes us, but we do not believe it
	for name, tt := range map[string]struct {
		client meshClient
		alpn   []string
		said   []byte
	}{
		"no certificate":          {nobody, []string{peerALPN}, peerHeader(port+1, "", peerBytes)},
		"another's certificate":   {stranger, []string{peerALPN}, peerHeader(port+1, "", peerBytes)},
		"no protocol":             {client, nil, peerHeader(port+1, "", peerBytes)},
		"no header":               {client, []string{peerALPN}, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
		"half a header":           {client, []string{peerALPN}, peerHeader(port, "", peerHTTP1)[:29]},
		"a port that refuses it":  {client, []string{peerALPN}, peerHeader(port, "", peerBytes)},
		"our own port":            {client, []string{peerALPN}, peerHeader(portOf(t, addr), "", peerHTTP1)},
		"our admin port":          {client, []string{peerALPN}, peerHeader(4191, "", peerHTTP1)},
		"our outbound port":       {client, []string{peerALPN}, peerHeader(4140, "", peerBytes)},
		"a destination behind us": {client, []string{peerALPN}, peerHeader(80, "db.test", peerHTTP2)},
	} {
		c, err := tt.client.dial(t.Context(), addr, "web.test", tt.alpn...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, _ = c.Write(tt.said) // it may be refused before that
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s: answered %q, %v", name, b, err)
		}
		c.Close()
	}
	c, err := client.header(t.Context(), addr, "web.test", port, peerHTTP1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, _ := echoed(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("a request that the port's policy refuses: %q", got)
	}
	if out := ca.openssl(addr, "web.test", "client.test", "", "-alpn", "h2"); !strings.Contains(out, "no application protocol") {
		t.Errorf("another protocol: openssl is told\n%s", out)
	}
	plain, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_ = plain.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(plain, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if b, _ := io.ReadAll(plain); len(b) > 0 {
		t.Errorf("plain text is answered %q", b)
	}
}

// TestDirectToAnOpaquePort: it has no routes for HTTP.
func TestDirectToAnOpaquePort(t *testing.T) {
	ca := newMeshCA(t)
	addr := directly(t, ca, func(uint16) *policy.Policy { return policy.AllUnauthenticated(policy.Opaque) })
	client := meshClient{ca, "client.test"}
	c, err := client.header(t.Context(), addr, "web.test", 9, peerHTTP1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, _ := echoed(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 404 ") {
		t.Errorf("%q", got)
	}
	if c, err = client.header(t.Context(), addr, "web.test", 9, peerHTTP2); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if resp, _, err := client.carried(t.Context(), c, "a", "/", ""); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("%v, %v", resp, err)
	}
}
