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

// httpClients makes what the clients of one service send requests of HTTP/1.1 by:
// as many connections as there are requests at once, which are kept alive.
func httpClients(addr, host string) func() (client, func()) {
	return func() (client, func()) {
		return httpClient(&http.Transport{MaxIdleConnsPerHost: mostKept, DisableCompression: true}, addr, host)
	}
}

// http2Clients makes what they send requests of HTTP/2 by: one connection for all.
func http2Clients(addr, host string) func() (client, func()) {
	return func() (client, func()) {
		only2 := new(http.Protocols)
		only2.SetUnencryptedHTTP2(true)
		return httpClient(&http.Transport{Protocols: only2, DisableCompression: true}, addr, host)
	}
}

// mostKept is more than any service has clients.
const mostKept = 100

func httpClient(to *http.Transport, addr, host string) (client, func()) {
	version := "HTTP/1.1"
	if to.Protocols != nil {
		version = "HTTP/2.0"
	}
	send := func(ctx context.Context, n int) (int, error) { return sendHTTP(ctx, to, version, addr, host, n) }
	return send, to.CloseIdleConnections
}

// sendHTTP sends a GET, a POST whose length is told, or one whose length is not. The
// application says in which version it came.
func sendHTTP(ctx context.Context, to http.RoundTripper, version, addr, host string, n int) (int, error) {
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
	return answeredBy(got, r.Method+" "+r.URL.Path+" of "+version, sent)
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
