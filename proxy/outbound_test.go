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

func TestOutboundHTTP1(t *testing.T) {
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, " ", r.URL.Path) })
	c := startController(t, meshYAML(serviceYAML("web.demo.svc.cluster.local", false, app)))
	named := freeAddr(t)
	s := startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+named+"=web.demo.svc.cluster.local:80")
	status, body, header := get(t, named, "web.demo.svc.cluster.local")
	if status != 200 || body != "web.demo.svc.cluster.local /" {
		t.Fatalf("%d %q %v", status, body, header)
	}
	m := s.metrics()
	for _, want := range []string{
		`request_total{direction="outbound",authority="web.demo.svc.cluster.local",target_addr="` + app + `"`,
		`response_total{`, `classification="success"`, `tcp_open_total{direction="outbound",peer="src"`, `process_start_time_seconds`,
	} {
		if !strings.Contains(m, want) {
			t.Errorf("metrics lack %s in\n%s", want, m)
		}
	}
}

func TestOutboundOpaque(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = echo.Close(); <-done })
	for _, opaque := range []bool{true, false} {
		c := startController(t, meshYAML(serviceYAML("db.demo.svc.cluster.local", opaque, echo.Addr().String())))
		named := freeAddr(t)
		startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+named+"=db.demo.svc.cluster.local:80")
		conn, err := net.Dial("tcp", named)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(conn, "\x00\x01 not HTTP at all")
		_ = conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		_ = conn.Close()
		if string(got) != "\x00\x01 not HTTP at all" || err != nil {
			t.Errorf("opaque %t: %q, %v", opaque, got, err)
		}
	}
}
