package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ask makes one request from the pod, as uid.
func (p pod) ask(uid int, addr, host string) (reply, error) {
	c, err := p.dial(uid, addr)
	if err != nil {
		return reply{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nKeep-Alive: seen\r\n\r\n", host); err != nil {
		return reply{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), resp.Close, err}, err
}

// ready waits until the sidecar in the pod takes connections.
func (p pod) ready(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if got, err := p.ask(0, "127.0.0.1:4191", "localhost"); err == nil && got.status > 0 {
			return
		}
	}
	t.Fatal("the sidecar does not come up")
}

// application serves, and says whether what it got has come through a proxy,
// which strips Keep-Alive.
func (p pod) application(t *testing.T, addr, name string) string {
	t.Helper()
	return p.serve(t, addr, func(w http.ResponseWriter, r *http.Request) {
		how := "proxied"
		if r.Header.Get("keep-alive") != "" {
			how = "direct"
		}
		fmt.Fprintf(w, "%s %s %s", name, how, r.Host)
	})
}

// TestRedirect has a program whose connections the kernel redirects to a sidecar,
// in a network namespace of its own.
func TestRedirect(t *testing.T) {
	p := newPod(t)
	web4, web6 := p.application(t, "10.99.0.1:0", "web4"), p.application(t, "[fd99::1]:0", "web6")
	other4, other6 := p.application(t, "10.99.0.1:0", "other4"), p.application(t, "[fd99::1]:0", "other6")
	mesh := meshYAML(
		fmt.Sprintf("- {name: web4.demo.svc.cluster.local, port: 80, clusterIP: 10.96.0.10, endpoints: [{address: '%s'}]}\n", web4),
		fmt.Sprintf("- {name: web6.demo.svc.cluster.local, port: 80, clusterIP: 'fd96::10', endpoints: [{address: '%s'}]}\n", web6))
	end := p.sidecar(t, p.control(t, mesh), "LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS=10.0.0.0/8,fd00::/8")
	p.ready(t)
	for _, test := range []struct {
		name, addr, body string
		uid              int
	}{
		{"service", "10.96.0.10:80", "web4 proxied h", 0},
		{"service, IPv6", "[fd96::10]:80", "web6 proxied h", 0},
		{"no service", other4, "other4 proxied h", 0},
		{"no service, IPv6", other6, "other6 proxied h", 0},
		{"the sidecar's own user", other4, "other4 direct h", sidecarUID},
	} {
		if got, err := p.ask(test.uid, test.addr, "h"); err != nil || got.status != 200 || got.body != test.body {
			t.Errorf("%s: %+v, %v; want %q", test.name, got, err, test.body)
		}
	}
	_, port, _ := net.SplitHostPort(p.closed(t))
	if got, err := p.ask(0, "10.99.0.1:"+port, "h"); err != nil || got.status != 502 || !strings.Contains(got.cause(), "connection refused") {
		t.Errorf("nobody listens: %+v, %v; want 502, and why", got, err)
	}
	for _, own := range []string{"127.0.0.1:4140", "[::1]:4140", "10.99.0.1:4140"} {
		if got, err := p.ask(0, own, "h"); err == nil && got.status < 500 {
			t.Errorf("%s, the sidecar's own: %+v", own, got)
		}
	}
	end()
	if _, err := p.ask(0, other4, "h"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("without the sidecar: %v; want it refused, since nothing may pass it by", err)
	}
}

// closed returns an address in the pod where nothing listens.
func (p pod) closed(t *testing.T) string {
	t.Helper()
	l := p.listen(t, "10.99.0.1:0")
	defer l.Close()
	return l.Addr().String()
}
