package h1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The tests of this file bear the names of those in linkerd2-proxy's
// transparency.rs, whose promises they keep: through one proxy, and through two.

// eachWay runs a test through one proxy and through two in a row.
func eachWay(t *testing.T, test func(t *testing.T, through func(origin string) string)) {
	t.Helper()
	one := func(t *testing.T) func(string) string {
		t.Helper()
		return func(origin string) string { return proxy(t, origin, testParams()) }
	}
	t.Run("one_proxy", func(t *testing.T) { test(t, one(t)) })
	t.Run("proxy_to_proxy", func(t *testing.T) {
		test(t, func(origin string) string { return one(t)(one(t)(origin)) })
	})
}

// A script is an origin that answers every request with the same text, and keeps
// the heads.
type script struct {
	answer string
	last   bool // close the connection behind the answer

	mu    sync.Mutex
	heads []string
	conns int
}

func (s *script) serve(c *net.TCPConn) {
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	rd := bufio.NewReader(c)
	for {
		head, err := readHead(rd)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.heads = append(s.heads, head)
		s.mu.Unlock()
		if _, err := skipContent(rd, head); err != nil {
			return
		}
		if _, err := io.WriteString(c, s.answer); err != nil || s.last {
			return
		}
	}
}

func readHead(rd *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := rd.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

// skipContent knows the two contents that these tests send.
func skipContent(rd *bufio.Reader, head string) (string, error) {
	n := 0
	switch {
	case strings.Contains(head, "\r\ncontent-length: 5\r\n"):
		n = 5
	case strings.Contains(head, "\r\ntransfer-encoding: chunked\r\n"):
		n = len("5\r\nhello\r\n0\r\n\r\n")
	}
	b := make([]byte, n)
	_, err := io.ReadFull(rd, b)
	return string(b), err
}

// head returns the last head that s got.
func (s *script) head() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heads) == 0 {
		return ""
	}
	return s.heads[len(s.heads)-1]
}

// has fails the test unless text has each of want, and none that begins with "!".
func has(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if not, ok := strings.CutPrefix(w, "!"); ok == strings.Contains(strings.ToLower(text), strings.ToLower(strings.TrimPrefix(w, "!"))) {
			t.Errorf("%s: %q; want %q (not: %q)", what, text, w, not)
		}
	}
}

// oneAnswer is what most tests do: one request, one answer, both looked at.
func oneAnswer(t *testing.T, request, answer string, wantHead, wantAnswer []string) {
	t.Helper()
	eachWay(t, func(t *testing.T, through func(string) string) {
		t.Helper()
		s := &script{answer: answer, last: true}
		got := must(t, through(listen(t, s.serve)), request)
		has(t, "the request", s.head(), wantHead...)
		has(t, "the answer", got, wantAnswer...)
	})
}

const okay = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

func TestTransparency_inbound_http1(t *testing.T) {
	oneAnswer(t, "GET / HTTP/1.1\r\nHost: transparency.test.svc.cluster.local\r\nX-Case: Kept, As Is\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 299 Fine by me\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello",
		[]string{"GET / HTTP/1.1\r\nhost: transparency.test.svc.cluster.local\r\nx-case: Kept, As Is\r\n\r\n", "!user-agent", "!accept", "!via", "!forwarded"},
		[]string{"HTTP/1.1 299 Fine by me\r\nserver: x\r\ncontent-length: 5\r\n", "\r\ndate: ", "\r\n\r\nhello", "!transfer-encoding"})
}

func TestTransparency_date_is_kept(t *testing.T) {
	oneAnswer(t, last, "HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 0\r\n\r\n", nil, []string{"\r\ndate: then\r\n", "!date: Mon", "!gmt"})
}

func TestTransparency_http1_removes_connection_headers(t *testing.T) {
	for _, closing := range []string{"", "close, "} {
		oneAnswer(t, "GET / HTTP/1.1\r\nHost: a\r\nX-Foo-Bar: baz\r\nConnection: close, X-Foo-Bar\r\nConnection: x-other\r\nX-Other: y\r\nKeep-Alive: 500\r\nProxy-Connection: a\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX-Server-Quux: lorem ipsum\r\nConnection: "+closing+"X-Server-Quux\r\nKeep-Alive: timeout=500\r\nProxy-Connection: x\r\nContent-Length: 0\r\n\r\n",
			[]string{"!x-foo-bar", "!x-other", "!keep-alive", "!proxy-connection", "!connection"},
			[]string{"HTTP/1.1 200 OK", "!x-server-quux", "!keep-alive", "!proxy-connection"})
	}
}

func TestTransparency_http10_with_host(t *testing.T) {
	oneAnswer(t, "GET / HTTP/1.0\r\nHost: transparency.test.svc.cluster.local\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		[]string{"GET / HTTP/1.0\r\nhost: transparency.test.svc.cluster.local\r\n\r\n"}, []string{"HTTP/1.0 200 OK\r\n", "connection: close"})
}

func TestTransparency_http10_keep_alive_only_if_asked(t *testing.T) {
	oneAnswer(t, "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\nHost: a\r\n\r\n", okay,
		[]string{"GET / HTTP/1.0\r\nhost: a\r\n\r\n"}, []string{"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n", "connection: keep-alive\r\n", "connection: close\r\n"})
}

func TestTransparency_http10_without_host(t *testing.T) {
	oneAnswer(t, "GET / HTTP/1.0\r\n\r\n", okay, []string{"GET / HTTP/1.0\r\n\r\n"}, []string{"HTTP/1.0 200 OK\r\n"})
}

func TestTransparency_http11_absolute_uri_differs_from_host(t *testing.T) {
	oneAnswer(t, "GET http://transparency.test.svc.cluster.local/ HTTP/1.1\r\nHost: foo.bar\r\nConnection: close\r\n\r\n", okay,
		[]string{"GET http://transparency.test.svc.cluster.local/ HTTP/1.1\r\nhost: foo.bar\r\n\r\n"}, []string{"HTTP/1.1 200 OK"})
}

func TestTransparency_target_is_kept(t *testing.T) {
	for _, target := range []string{"/a%2fb/../c//d;e?f=%zz&&", "http://A.b:80", "http://a?b", "/%61%00"} {
		oneAnswer(t, "GET "+target+" HTTP/1.1\r\nHost: A:80\r\nConnection: close\r\n\r\n", okay, []string{"GET " + target + " HTTP/1.1\r\nhost: A:80\r\n"}, nil)
	}
	oneAnswer(t, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", okay, []string{"OPTIONS * HTTP/1.1\r\nhost: a\r\n"}, nil)
}

// tunnels sends a head, and then talks in both directions through the tunnel that
// the answer makes.
func tunnels(t *testing.T, request, answer, wantHead, wantAnswer string) {
	t.Helper()
	eachWay(t, func(t *testing.T, through func(string) string) {
		t.Helper()
		done := make(chan struct{})
		origin := listen(t, func(c *net.TCPConn) {
			defer close(done)
			rd := bufio.NewReader(c)
			head, _ := readHead(rd)
			has(t, "the request", head, wantHead)
			fmt.Fprint(c, answer)
			line, _ := rd.ReadString('\n')
			has(t, "through the tunnel", line, "hi all\n")
			fmt.Fprint(c, "welcome!\n")
			if rest, err := io.ReadAll(rd); len(rest) > 0 || err != nil {
				t.Errorf("then came %q, %v", rest, err)
			}
			fmt.Fprint(c, "bye") // by the half that is still open
		})
		c := dial(t, through(origin))
		fmt.Fprint(c, request)
		rd := bufio.NewReader(c)
		head, err := readHead(rd)
		if has(t, "the answer", head, wantAnswer, "!content-length", "!transfer-encoding"); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "hi all\n")
		if line, _ := rd.ReadString('\n'); line != "welcome!\n" {
			t.Errorf("got %q", line)
		}
		_ = c.CloseWrite()
		if rest, err := io.ReadAll(rd); string(rest) != "bye" || err != nil {
			t.Errorf("at the end got %q, %v", rest, err)
		}
		wait(t, done, "the origin")
	})
}

func TestTransparency_http11_upgrades(t *testing.T) {
	tunnels(t, "GET /chat HTTP/1.1\r\nHost: transparency.test.svc.cluster.local\r\nConnection: upgrade\r\nUpgrade: chatproto\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chatproto\r\nConnection: upgrade\r\n\r\n",
		"\r\nconnection: upgrade\r\nupgrade: chatproto\r\n", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chatproto\r\n")
}

func TestTransparency_http11_connect(t *testing.T) {
	tunnels(t, "CONNECT transparency.test.svc.cluster.local HTTP/1.1\r\nHost: transparency.test.svc.cluster.local\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		"CONNECT transparency.test.svc.cluster.local HTTP/1.1\r\nhost: transparency.test.svc.cluster.local\r\n\r\n", "HTTP/1.1 200 OK\r\n")
}

func TestTransparency_http11_connect_headers_stripped(t *testing.T) {
	for _, field := range []string{"Content-Length: 0", "Content-Length: 7", "Transfer-Encoding: chunked"} {
		tunnels(t, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"+field+"\r\n\r\n", "CONNECT a HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n")
	}
}

func TestTransparency_http11_connect_bad_requests(t *testing.T) {
	eachWay(t, func(t *testing.T, through func(string) string) {
		t.Helper()
		addr := through(listen(t, func(*net.TCPConn) { t.Error("reached the origin") }))
		for _, target := range []string{"/origin-form", "/", "http://test/bar", "http://test", "*"} {
			has(t, target, must(t, addr, "CONNECT "+target+" HTTP/1.1\r\nHost: test\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n")
		}
		has(t, "GET", must(t, addr, "GET test HTTP/1.1\r\nHost: test\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n")
		has(t, "1.0", must(t, addr, "CONNECT test HTTP/1.0\r\nHost: test\r\n\r\n"), "HTTP/1.0 400 Bad Request\r\n")
	})
}

func TestTransparency_http11_upgrade_h2_stripped(t *testing.T) {
	oneAnswer(t, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings:\r\nConnection: upgrade, http2-settings\r\nConnection: close\r\n\r\n", okay,
		[]string{"!connection", "!upgrade", "!http2-settings"}, []string{"HTTP/1.1 200 OK"})
}

func TestTransparency_http1_request_with_body_content_length(t *testing.T) {
	oneAnswer(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", okay, []string{"\r\ncontent-length: 5\r\n", "!transfer-encoding"}, []string{"200 OK"})
}

func TestTransparency_http1_request_with_body_chunked(t *testing.T) {
	oneAnswer(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n",
		[]string{"\r\ntransfer-encoding: chunked\r\n", "!content-length"}, []string{"\r\ntransfer-encoding: chunked\r\n", "\r\n\r\n5\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n", "!content-length"})
}

// eachMethod sends a request of each method on one connection.
func eachMethod(t *testing.T, field, answer string, wantHead, wantAnswer []string) {
	t.Helper()
	eachWay(t, func(t *testing.T, through func(string) string) {
		t.Helper()
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"} {
			s := &script{answer: answer, last: true}
			got := must(t, through(listen(t, s.serve)), method+" / HTTP/1.1\r\nHost: a\r\n"+field+"Connection: close\r\n\r\n")
			has(t, method, s.head(), append(slices.Clone(wantHead), method+" / HTTP/1.1\r\n")...)
			has(t, method, got, append(slices.Clone(wantAnswer), "HTTP/1.1 200 OK\r\n")...)
		}
	})
}

func TestTransparency_http1_requests_without_body_doesnt_add_transfer_encoding(t *testing.T) {
	eachMethod(t, "", okay, []string{"!transfer-encoding", "!content-length"}, nil)
}

func TestTransparency_http1_content_length_zero_is_preserved(t *testing.T) {
	eachMethod(t, "Content-Length: 0\r\n", okay, []string{"\r\ncontent-length: 0\r\n", "!transfer-encoding"}, []string{"\r\ncontent-length: 0\r\n", "!transfer-encoding"})
}

func TestTransparency_http1_bodyless_responses(t *testing.T) {
	for _, status := range []string{"204 No Content", "304 Not Modified"} {
		oneAnswer(t, last, "HTTP/1.1 "+status+"\r\n\r\n", nil, []string{"HTTP/1.1 " + status + "\r\n", "!transfer-encoding", "!content-length"})
	}
	oneAnswer(t, "HEAD"+last[3:], "HTTP/1.1 200 OK\r\n\r\n", nil, []string{"HTTP/1.1 200 OK\r\n", "!transfer-encoding", "!content-length"})
}

func TestTransparency_http1_head_responses(t *testing.T) {
	oneAnswer(t, "HEAD"+last[3:], "HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n", nil, []string{"\r\ncontent-length: 55\r\n", "!transfer-encoding"})
}

func TestTransparency_http1_response_end_of_file(t *testing.T) {
	oneAnswer(t, last[:25]+"\r\n", "HTTP/1.0 200 OK\r\n\r\nbody till eof", nil, []string{"HTTP/1.0 200 OK\r\n", "\r\n\r\nbody till eof", "!transfer-encoding", "!content-length", "connection: close"})
	oneAnswer(t, last, "HTTP/1.1 200 OK\r\n\r\nbody till eof", nil, []string{"HTTP/1.1 200 OK\r\n", "\r\n\r\nd\r\nbody till eof\r\n0\r\n\r\n"})
	oneAnswer(t, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", nil, []string{"HTTP/1.0 200 OK\r\n", "\r\n\r\nhello", "!transfer-encoding"})
}

// TestTransparency_http1_one_connection_per_host asks for hosts by turns on one
// client connection.
func TestTransparency_http1_one_connection_per_host(t *testing.T) {
	s := &script{answer: okay}
	c := dial(t, proxy(t, listen(t, s.serve), testParams()))
	rd := bufio.NewReader(c)
	for _, step := range []struct {
		target, host string
		conns        int
	}{
		{"/", "foo.bar", 1},
		{"/", "foo.bar", 1},
		{"/", "bar.baz", 2},
		{"/", "bar.baz", 2},
		{"/", "foo.bar", 2},
		{"/", "third", 3},
		{"http://foo.bar/", "foo.bar", 4},
		{"http://foo.bar/", "x", 4},
		{"/", "foo.bar", 4},
		{"/", "", 5},
		{"/", "", 6}, // http1_requests_without_host_have_unique_connections
	} {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", step.target, step.host)
		if _, err := readHead(rd); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		if s.conns != step.conns {
			t.Errorf("%s for %q: %d connections, want %d", step.target, step.host, s.conns, step.conns)
		}
		s.mu.Unlock()
	}
}
