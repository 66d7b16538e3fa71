package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
)

// httpClients makes clients of one service, each with one connection that is kept
// alive.
func httpClients(addr, host string) func() (client, func()) {
	return func() (client, func()) {
		transport := &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}
		send := func(ctx context.Context, n int) (int, error) { return sendHTTP(ctx, transport, addr, host, n) }
		return send, transport.CloseIdleConnections
	}
}

// sendHTTP sends a GET, a POST whose length is told, or one in chunks.
func sendHTTP(ctx context.Context, to http.RoundTripper, addr, host string, n int) (int, error) {
	var body io.Reader = http.NoBody
	var sent []byte
	method := http.MethodGet
	if n%3 > 0 {
		sent, method = content(n), http.MethodPost
		body = bytes.NewReader(sent)
	}
	if n%3 == 2 {
		body = struct{ io.Reader }{body} // of which net/http cannot tell the length
	}
	sendings := 0
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sendings++ }}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, fmt.Sprintf("http://%s/%d", addr, n), body)
	if err != nil {
		return 0, err
	}
	r.Host = host
	resp, err := to.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return 0, err
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%s: %.200q, l5d-proxy-error %.200q", resp.Status, got, resp.Header.Get("l5d-proxy-error"))
	case sendings > 1:
		return 0, errors.New("net/http had to send it twice")
	}
	return answeredBy(got, r.Method+" "+r.URL.Path, sent)
}

// tcpClients makes clients that open a connection for each request.
func tcpClients(addr string) func() (client, func()) {
	send := func(ctx context.Context, n int) (int, error) { return sendTCP(ctx, addr, n) }
	return func() (client, func()) { return send, func() {} }
}

// sendTCP opens a connection, sends, says that there is no more, and reads all
// that comes back.
func sendTCP(ctx context.Context, addr string, n int) (int, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer unhook()
	sent := append([]byte("\x00\x01"), content(n)...) // which is not HTTP
	if _, err := c.Write(sent); err != nil {
		return 0, err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	got, err := io.ReadAll(c)
	if err != nil {
		return 0, err
	}
	return answeredBy(got, echoed, sent)
}

// answeredBy returns the number of the workload that answered, if it answered what
// it had to.
func answeredBy(got []byte, to string, sent []byte) (int, error) {
	line, rest, _ := bytes.Cut(got, []byte("\n"))
	for n := 1; n <= workloads; n++ {
		if string(line) != strings.TrimSuffix(greeting(n, to), "\n") {
			continue
		}
		if !bytes.Equal(rest, sent) {
			return 0, fmt.Errorf("application %d was sent %d bytes, and %d others came back", n, len(sent), len(rest))
		}
		return n, nil
	}
	return 0, fmt.Errorf("this is no answer to %q: %.100q", to, line)
}
