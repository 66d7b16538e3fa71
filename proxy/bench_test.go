package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// cannedOrigin answers every request, whatever it is, with 128 bytes and as many
// allocations as a connection needs.
func cannedOrigin(tb testing.TB) string {
	tb.Helper()
	answer := []byte("HTTP/1.1 200 OK\r\nserver: canned\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\n" +
		"content-type: text/plain\r\ncontent-length: 128\r\n\r\n" + strings.Repeat("x", 128))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						if _, err := c.Write(answer); err != nil {
							return
						}
					}
				}
			})
		}
	})
	tb.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return l.Addr().String()
}

// BenchmarkOutboundHTTP1 is one keep-alive client that sends GETs through the
// whole outbound stack, driven by a control plane, to a server that answers with
// 128 bytes. Neither the client nor the server allocates.
func BenchmarkOutboundHTTP1(b *testing.B) {
	c := startController(b, meshYAML(serviceYAML("web.demo.svc.cluster.local", false, cannedOrigin(b))))
	named := freeAddr(b)
	s := startSidecar(b, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+named+"=web.demo.svc.cluster.local:80")
	defer s.stop()
	benchHTTP1(b, named)
}

// BenchmarkOutboundCarried sends the same through two sidecars, which carry it in
// HTTP/2.
func BenchmarkOutboundCarried(b *testing.B) {
	p := startCarrying(b, cannedOrigin(b))
	benchHTTP1(b, p.addr)
}

func benchHTTP1(b *testing.B, addr string) {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET /s HTTP/1.1\r\nHost: web.demo.svc.cluster.local\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	buf := make([]byte, 4096)
	roundTrip := func() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if err := readAnswer(conn, buf); err != nil {
			b.Fatal(err)
		}
	}
	for range 100 {
		roundTrip()
	}
	b.ReportAllocs()
	for b.Loop() {
		roundTrip()
	}
}

func readAnswer(conn net.Conn, buf []byte) error {
	for n := 0; ; {
		m, err := conn.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
		if i := bytes.Index(buf[:n], []byte("\r\n\r\n")); i >= 0 && n-i-4 >= 128 {
			if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("answered %q: %w", buf[:n], io.ErrUnexpectedEOF)
			}
			return nil
		}
	}
}
