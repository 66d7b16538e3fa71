package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startApp runs an application, and stops it when the test ends.
func startApp(t *testing.T) (httpAddr, tcpAddr string) {
	t.Helper()
	p := &portPicker{}
	httpAddr, tcpAddr = p.pick(t.Context(), 18081), p.pick(t.Context(), 19081)
	p.close()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&app{number: 2}).run(ctx, httpAddr, tcpAddr) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for (probe{addr: tcpAddr}).try(t.Context()) != nil || (probe{addr: httpAddr, path: countsPath}).try(t.Context()) != nil {
		if err := pause(t.Context(), demoTick); err != nil {
			t.Fatal(err)
		}
	}
	return httpAddr, tcpAddr
}

func TestApp(t *testing.T) {
	httpAddr, tcpAddr := startApp(t)
	before := appCountsOf(t, httpAddr)
	request, done := httpClients(httpAddr, webService)()
	defer done()
	for n := range 6 {
		if got, err := request(t.Context(), n); got != 2 || err != nil {
			t.Errorf("request %d: %d, %v", n, got, err)
		}
	}
	request, _ = tcpClients(tcpAddr)()
	for n := range 3 {
		if got, err := request(t.Context(), n); got != 2 || err != nil {
			t.Errorf("connection %d: %d, %v", n, got, err)
		}
	}
	after := appCountsOf(t, httpAddr)
	if after.HTTP-before.HTTP != 6 || after.TCP-before.TCP != 3 {
		t.Errorf("it counted %+v, and then %+v", before, after)
	}
}

func appCountsOf(t *testing.T, addr string) (c appCounts) {
	t.Helper()
	text, err := fetch(t.Context(), addr, countsPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAppDelay(t *testing.T) {
	httpAddr, _ := startApp(t)
	for _, d := range []string{"", "x", "-1s"} {
		if _, err := ask(t.Context(), http.MethodPost, httpAddr, delayPath+"?d="+d); err == nil {
			t.Errorf("a delay of %q", d)
		}
	}
	if _, err := fetch(t.Context(), httpAddr, delayPath+"?d=1s"); err == nil {
		t.Error("a delay set by GET")
	}
	if _, err := ask(t.Context(), http.MethodPost, httpAddr, delayPath+"?d="+demoDelay.String()); err != nil {
		t.Fatal(err)
	}
	request, done := httpClients(httpAddr, webService)()
	defer done()
	start := time.Now()
	if _, err := request(t.Context(), 0); err != nil || time.Since(start) < appWork+demoDelay {
		t.Errorf("it took %s: %v", time.Since(start), err)
	}
}

// TestClientsNotice gives clients answers that are not right.
func TestClientsNotice(t *testing.T) {
	greeted := greeting(1, "POST /1")
	for name, answer := range map[string]string{
		"a status":         "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n",
		"another's answer": "HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\nhi",
		"content cut":      fmt.Sprintf("HTTP/1.1 200 x\r\ncontent-length: %d\r\n\r\n%s", len(greeted), greeted),
		"no answer":        "",
		"an answer cut":    "HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\nh",
	} {
		t.Run(name, func(t *testing.T) {
			addr := canned(t, answer)
			request, done := httpClients(addr, webService)()
			defer done()
			if _, err := request(t.Context(), 1); err == nil {
				t.Error("it was taken for an answer")
			}
			request, _ = tcpClients(addr)()
			if _, err := request(t.Context(), 1); err == nil {
				t.Error("it was taken for what was sent")
			}
		})
	}
}

// canned reads what it is sent, and answers with text.
func canned(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.CopyN(io.Discard, c, int64(len(content(1)))) // and its head stays, unread or not
			_, _ = io.WriteString(c, text)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestContent(t *testing.T) {
	lengths := map[int]bool{}
	for n := range 1000 {
		c := content(n)
		if len(c) >= 16<<10 || bytes.ContainsAny(c, "\n") {
			t.Fatalf("content %d has %d bytes", n, len(c))
		}
		lengths[len(c)] = true
	}
	if len(lengths) < 1000 || strings.Contains(string(content(1)), "\x00") {
		t.Errorf("only %d lengths", len(lengths))
	}
}
