package h1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// An answer is what a hostile server sends to a request.
type hostileAnswer struct {
	name, text string
	method     string // of the request; GET if empty
	want       fate
	then       what // the server does after it
}

// A fate is what becomes of a response.
type fate string

const (
	refusedAs502 fate = "502" // with the connection to the client closed, or cut
	cut          fate = "cut" // it has begun, and ends in a reset
	whole        fate = "whole"
)

type what int

const (
	stays what = iota
	closes
)

func answers(class string, want fate, then what, format string, parts ...string) (v []hostileAnswer) {
	for _, p := range parts {
		v = append(v, hostileAnswer{fmt.Sprintf("%s %.40q", class, p), fmt.Sprintf(format, p), "", want, then})
	}
	return v
}

func hostileAnswers() (v []hostileAnswer) {
	const ok = "HTTP/1.1 200 OK\r\n%s\r\n\r\nhello"
	v = answers("line", refusedAs502, stays, "%s\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200OK", "HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000 OK", "HTTP/1.1 -20 OK", "HTTP/1.1 2x0 OK", "HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK", "http/1.1 200 OK",
		"ICY 200 OK", " HTTP/1.1 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1  200 OK", "HTTP/1.1", "HTTP/1.1 ", "", "\nHTTP/1.1 200 OK", "\r\nHTTP/1.1 200 OK", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK", "HTTP/1.1 200 OK\r", "HTTP/1.1 200 OK\n", "HTTP/1.1 200 \x7f", "\x16\x03\x03\x00\x02\x02\x28", "GET / HTTP/1.1", "HTTP/1.1 200\tOK")
	v = append(v, answers("field", refusedAs502, stays, ok, "X : y", " X: y", "X", ": y", "X: y\r\n z", "X: \x00", "X: y\rz", "X: y\nz", "X\x00: y", "X Y: z", "X: y\x7f", "Content-Length : 5", "Content-Length: 5\n", "X: "+strings.Repeat("y", 65<<10), strings.TrimSuffix(strings.Repeat("X: y\r\n", 201), "\r\n"), "Connection: "+strings.Repeat("x,", 64)+"x")...)
	v = append(v, answers("cl", refusedAs502, stays, ok, "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: +5", "Content-Length: -5", "Content-Length: 0x5", "Content-Length: 5,5", "Content-Length: 5 5", "Content-Length:", "Content-Length: x", "Content-Length: 18446744073709551621", "Content-Length: 5.0", "Content-Length: 5\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: identity\r\nContent-Length: 5")...)
	v = append(v, answers("te", refusedAs502, stays, ok, "Transfer-Encoding: xchunked", "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding:", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding : chunked", "Transfer-Encoding: chunked;q=1")...)
	v = append(v, answers("te in HTTP/1.0", refusedAs502, stays, "HTTP/1.0 200 OK\r\n%s\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked")...)
	v = append(v, answers("chunk", cut, stays, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s", "5\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "g\r\n", "ffffffffffffffff\r\nx", "5;\x00\r\nhello\r\n0\r\n\r\n", "5;"+strings.Repeat("x", 300)+"\r\nhello\r\n0\r\n\r\n", "\r\n", "5\r\nhello\r\n0\n\r\n",
		"5\r\nhello\r\n0\r\nX : y\r\n\r\n", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", "0\r\nX: y\nZ: z\r\n\r\n", "0\r\nX: "+strings.Repeat("y", 65<<10)+"\r\n\r\n")...)
	v = append(v, answers("interim", refusedAs502, stays, "%s"+fmt.Sprintf(ok, "Content-Length: 5"), "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 17), "HTTP/1.1 100 Continue\n\n", "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 103 x\r\nX : y\r\n\r\n", "HTTP/1.1 103 x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n")...)
	v = append(v, answers("cut short", cut, closes, "HTTP/1.1 200 OK\r\n%s", "Content-Length: 10\r\n\r\nhello", "Content-Length: 10\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n")...)
	v = append(v, answers("no head", refusedAs502, closes, "%s", "", "H", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "HTTP/1.1 100 Continue\r\n\r\n")...)
	evil := "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	v = append(v, answers("behind", whole, stays, "HTTP/1.1 %s"+evil, "200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "200 OK\r\nContent-Length: 0\r\n\r\n", "204 No Content\r\n\r\n", "204 No Content\r\nContent-Length: 42\r\n\r\n", "204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "304 Not Modified\r\nContent-Length: 42\r\n\r\n", "200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "404 Not Found\r\nTransfer-Encoding: chunked\r\nExpect: x\r\n\r\n0\r\n\r\n")...)
	return append(v,
		hostileAnswer{"content behind HEAD", evil, "HEAD", whole, stays},
		hostileAnswer{"chunks behind HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, "HEAD", whole, stays},
		hostileAnswer{"expect ahead of chunks", "HTTP/1.1 200 OK\r\nExpect: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + evil, "", whole, stays},
		hostileAnswer{"declared content of 204", "HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n", "", whole, stays},
	)
}

// TestHostileResponses has a server send each of them, and then sees that the next
// client gets its own answer, by another connection.
func TestHostileResponses(t *testing.T) {
	all := hostileAnswers()
	if len(all) < 60 {
		t.Errorf("only %d", len(all))
	}
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			var conns atomic.Int32
			origin := listen(t, func(c *net.TCPConn) { v.serve(c, conns.Add(1)) })
			addr := proxy(t, origin, testParams())
			if v.method == "" {
				v.method = "GET"
			}
			v.check(t, addr)
			got := must(t, addr, "GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\nsecond") {
				t.Errorf("the next request got %q", got)
			}
			if n := conns.Load(); n != 2 {
				t.Errorf("%d connections, want another after a bad response", n)
			}
		})
	}
}

func (v *hostileAnswer) serve(c *net.TCPConn, nth int32) {
	rd := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(rd)
		if err != nil {
			return
		}
		text := "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond"
		if nth == 1 && r.URL.Path == "/first" {
			text = v.text
		}
		_, _ = io.WriteString(c, text)
		if nth == 1 && v.then == closes {
			return
		}
	}
}

// check sends the first request. It keeps its client connection to itself: that of
// a whole response stays open.
func (v *hostileAnswer) check(t *testing.T, addr string) {
	t.Helper()
	c := dial(t, addr)
	fmt.Fprintf(c, "%s /first HTTP/1.1\r\nHost: a\r\n\r\n", v.method)
	rd := bufio.NewReader(c)
	resp, err := http.ReadResponse(rd, &http.Request{Method: v.method})
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(rd, &http.Request{Method: v.method})
	}
	var content []byte
	if err == nil {
		content, err = io.ReadAll(resp.Body)
	}
	got := whole
	switch {
	case err != nil:
		got = cut
	case resp.StatusCode == 502 && resp.Close:
		got = refusedAs502
	}
	if got != v.want {
		t.Errorf("got %s (%v), want %s", got, err, v.want)
	}
	if strings.Contains(string(content), "evil") {
		t.Errorf("content %q", content)
	}
}

// TestUnaskedResponse has a server send a second response once its connection is
// idle: that must not be the next request's.
func TestUnaskedResponse(t *testing.T) {
	idle, sent := make(chan struct{}), make(chan struct{})
	var conns atomic.Int32
	origin := listen(t, func(c *net.TCPConn) {
		nth := conns.Add(1)
		rd := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(rd); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d", nth)
			if nth == 1 {
				<-idle
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
				close(sent)
			}
		}
	})
	client := dial(t, proxy(t, origin, testParams()))
	rd := bufio.NewReader(client)
	ask := func() string {
		fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := ask(); got != "1" {
		t.Errorf("first got %q", got)
	}
	close(idle)
	wait(t, sent, "the second response")
	if got := ask(); got != "2" {
		t.Errorf("second got %q", got)
	}
}
