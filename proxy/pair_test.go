package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A pair is two sidecars: one beside the client, and one before the server.
type pair struct {
	addr              string // of the client's side
	in                string // of the server's side
	outbound, inbound *sidecar
}

// startPair puts a pair before the server at app.
func startPair(tb testing.TB, app string, opaque bool, env ...string) *pair {
	tb.Helper()
	in := freeAddr(tb)
	return startPairOf(tb, app, in, serviceYAML(webHost, opaque, in), env...)
}

// startCarrying is startPair for two sidecars that carry HTTP/1 over HTTP/2.
func startCarrying(tb testing.TB, app string, env ...string) *pair {
	tb.Helper()
	in := freeAddr(tb)
	return startPairOf(tb, app, in, serviceYAML(webHost, false, in)+"    protocol: h2\n", env...)
}

// eachWay runs a test with one proxy, which is inbound, with pairs, and with pairs
// that carry HTTP/1 over HTTP/2. A pair of one has no outbound side.
func eachWay(t *testing.T, test func(*testing.T, func(testing.TB, string) *pair)) {
	t.Helper()
	t.Run("one_proxy", func(t *testing.T) {
		test(t, func(tb testing.TB, app string) *pair {
			tb.Helper()
			addr, s := startInbound(tb, app)
			return &pair{addr: addr, in: addr, inbound: s}
		})
	})
	t.Run("proxy_to_proxy", func(t *testing.T) {
		test(t, func(tb testing.TB, app string) *pair { tb.Helper(); return startPair(tb, app, false) })
	})
	t.Run("proxy_to_proxy, carried", func(t *testing.T) {
		test(t, func(tb testing.TB, app string) *pair { tb.Helper(); return startCarrying(tb, app) })
	})
}

// startPairOf puts a pair before the server at app, of which the mesh says service.
func startPairOf(tb testing.TB, app, in, service string, env ...string) *pair {
	tb.Helper()
	p := &pair{addr: freeAddr(tb), in: in}
	c := startController(tb, meshYAML(service))
	p.inbound = startSidecar(tb, c.addr, append(env, "OUTRIGGER_INBOUND_NAMED="+p.in+"="+app)...)
	p.outbound = startSidecar(tb, c.addr, append(env, "OUTRIGGER_OUTBOUND_NAMED="+p.addr+"="+webHost+":80")...)
	return p
}

// recorded is an application that notes what it was sent, as it stands, and
// answers what it is told to.
type recorded struct {
	addr string
	seen chan string
}

// answering starts a server that notes the bytes of each connection up to its
// end, and then sends the answer.
func answering(tb testing.TB, end, answer string) *recorded {
	tb.Helper()
	r := &recorded{seen: make(chan string, 16)}
	r.addr = replier(tb, func(c net.Conn) {
		var seen []byte
		buf := make([]byte, 64<<10)
		for !strings.HasSuffix(string(seen), end) {
			n, err := c.Read(buf)
			if seen = append(seen, buf[:n]...); err != nil {
				break
			}
		}
		r.seen <- string(seen)
		_, _ = io.WriteString(c, answer)
	})
	return r
}

// raw sends text and returns all that comes back.
func raw(tb testing.TB, addr, text string) string {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err = io.WriteString(c, text); err != nil {
		tb.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		tb.Errorf("after %q: %v", got, err)
	}
	return string(got)
}

// TestPairTransparency sends requests of every form through one proxy, and two, which
// may carry them over HTTP/2, and compares what the server and the client see. Rows
// that stand in linkerd2-proxy's transparency.rs too have the name that they have there.
func TestPairTransparency(t *testing.T) {
	const closing = "Connection: close\r\n\r\n"
	for _, test := range []struct {
		name         string
		request      string
		seen, unseen []string // in what the server saw, in lower case
		answer       string
		got, missing []string // in what the client got, in lower case
		two          bool     // it is the outbound side that does this
	}{
		{
			name:    "inbound_http1",
			request: "GET /a?b=c HTTP/1.1\r\nHost: Web.Example\r\nX-A: 1\r\nX-A: 2\r\n" + closing,
			seen:    []string{"get /a?b=c http/1.1\r\n", "host: web.example\r\n", "x-a: 1\r\n", "x-a: 2\r\n"},
			unseen:  []string{"connection: close", "transfer-encoding", "content-length"},
			answer:  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-B: 1\r\nX-B: 2\r\n\r\nok",
			got:     []string{"http/1.1 200 ok\r\n", "x-b: 1\r\n", "x-b: 2\r\n", "content-length: 2\r\n", "date: ", "\r\n\r\nok"},
		},
		{
			name:    "http1_removes_connection_headers",
			request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-foo, close\r\nX-Foo: 1\r\nKeep-Alive: 3\r\nProxy-Connection: x\r\n\r\n",
			unseen:  []string{"x-foo", "keep-alive", "proxy-connection"},
			answer:  "HTTP/1.1 200 OK\r\nConnection: x-bar\r\nX-Bar: 1\r\nContent-Length: 0\r\n\r\n", missing: []string{"x-bar"},
		},
		{
			name:    "http1_head_responses",
			request: "HEAD / HTTP/1.1\r\nHost: a\r\n" + closing, unseen: []string{"transfer-encoding"},
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n", got: []string{"content-length: 55"}, missing: []string{"transfer-encoding"},
		},
		{
			name: "http1_bodyless_responses: 304", request: "GET / HTTP/1.1\r\nHost: a\r\n" + closing,
			answer: "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", got: []string{" 304 ", "etag: x"}, missing: []string{"transfer-encoding"},
		},
		{
			name:    "http1_content_length_zero_is_preserved",
			request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + closing, seen: []string{"content-length: 0\r\n"},
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", got: []string{"content-length: 0\r\n"},
		},
		{
			name: "http10_with_host, http1_response_end_of_file", request: "GET / HTTP/1.0\r\nHost: a\r\n\r\n", seen: []string{"get / http/1.0\r\n", "host: a\r\n"},
			answer: "HTTP/1.0 200 OK\r\n\r\nto the end", got: []string{"http/1.0 200 ok\r\n", "\r\n\r\nto the end"}, missing: []string{"transfer-encoding", "content-length"},
		},
		{
			name: "http10_without_host", request: "GET / HTTP/1.0\r\n\r\n", seen: []string{"get / http/1.0\r\n"}, unseen: []string{"host:"},
			answer: "HTTP/1.0 200 OK\r\n\r\n", got: []string{"http/1.0 200 ok\r\n"},
		},
		{
			name:    "http11_absolute_uri_differs_from_host",
			request: "GET http://one.example/x HTTP/1.1\r\nHost: two.example\r\n" + closing,
			seen:    []string{"get http://one.example/x http/1.1\r\n", "host: two.example\r\n"},
			answer:  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", got: []string{" 200 "},
		},
		{
			name: "asterisk form", request: "OPTIONS * HTTP/1.1\r\nHost: a\r\n" + closing, seen: []string{"options * http/1.1\r\n"},
			answer: "HTTP/1.1 204 No Content\r\n\r\n", got: []string{" 204 "}, missing: []string{"transfer-encoding", "content-length"},
		},
		{
			name: "early hints", request: "GET / HTTP/1.1\r\nHost: a\r\n" + closing,
			answer: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			got:    []string{"http/1.1 103 early hints\r\nlink: x\r\n", "http/1.1 200 ok\r\n"},
		},
		{
			name: "http11_upgrade_h2_stripped", request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
			unseen: []string{"h2c", "http2-settings"}, answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", got: []string{" 200 "},
		},
		{
			name: "the mesh's fields", request: "GET / HTTP/1.1\r\nHost: a\r\nL5d-Client-Id: forged\r\nl5d_client_id: forged\r\nl5d_x: 1\r\nL5d-Retry-Http: 5xx\r\n" + closing,
			unseen: []string{"forged", "l5d_"}, answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nL5d-Proxy-Error: forged\r\nL5d-Proxy-Connection: close\r\n\r\n",
			got: []string{" 200 "}, missing: []string{"l5d-proxy"}, two: true,
		},
		{
			name: "l5d_orig_proto_header_isnt_leaked", request: "GET / HTTP/1.1\r\nHost: a\r\n" + closing, unseen: []string{"l5d-orig-proto"},
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", got: []string{"http/1.1 200 ok\r\n"}, missing: []string{"l5d-orig-proto"},
		},
		{
			name:    "http1_request_with_body_content_length",
			request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n" + closing + "hello\r\n\r\n", seen: []string{"content-length: 9\r\n", "\r\n\r\nhello"}, unseen: []string{"transfer-encoding"},
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nworld", got: []string{"content-length: 5\r\n", "\r\n\r\nworld"}, missing: []string{"transfer-encoding"},
		},
		{
			name:    "http1_request_with_body_chunked",
			request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + closing + "5\r\nhello\r\n0\r\n\r\n",
			seen:    []string{"transfer-encoding: chunked\r\n", "\r\n5\r\nhello\r\n"}, unseen: []string{"content-length"},
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n",
			got:    []string{"transfer-encoding: chunked\r\n", "\r\n5\r\nworld\r\n", "x-sum: 1\r\n"}, missing: []string{"content-length"},
		},
		{
			name: "http1_bodyless_responses: 204", request: "GET / HTTP/1.1\r\nHost: a\r\n" + closing,
			answer: "HTTP/1.1 204 No Content\r\n\r\n", got: []string{"http/1.1 204 no content\r\n"}, missing: []string{"transfer-encoding", "content-length"},
		},
		{
			name: "http1_bodyless_responses: HEAD", request: "HEAD / HTTP/1.1\r\nHost: a\r\n" + closing,
			answer: "HTTP/1.1 200 OK\r\n\r\n", got: []string{"http/1.1 200 ok\r\n"}, missing: []string{"transfer-encoding"},
		},
		{
			name: "http1_response_end_of_file, of HTTP/1.1", request: "GET / HTTP/1.1\r\nHost: a\r\n" + closing,
			answer: "HTTP/1.0 200 OK\r\n\r\nbody till eof", got: []string{"http/1.0 200 ok\r\n", "\r\n\r\nbody till eof"}, missing: []string{"transfer-encoding", "content-length"},
		},
		{
			name: "CONNECT refused", request: "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n" + closing, seen: []string{"connect db:5432 http/1.1\r\n"},
			answer: "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", got: []string{" 403 ", "\r\n\r\nno"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
				t.Helper()
				end := "\r\n\r\n"
				if _, content, _ := strings.Cut(test.request, end); content != "" { // an end of the head is none of the request
					end = content
				}
				app := answering(t, end, test.answer)
				p := start(t, app.addr)
				if test.two && p.outbound == nil {
					return
				}
				got := strings.ToLower(raw(t, p.addr, test.request))
				saw := strings.ToLower(<-app.seen)
				check := func(what, in string, want, unwanted []string) {
					for _, w := range want {
						if !strings.Contains(in, w) {
							t.Errorf("the %s got %q; want %q in it", what, in, w)
						}
					}
					for _, w := range unwanted {
						if strings.Contains(in, w) {
							t.Errorf("the %s got %q; want no %q in it", what, in, w)
						}
					}
				}
				check("server", saw, test.seen, test.unseen)
				check("client", got, test.got, test.missing)
			})
		})
	}
}

// TestPairPipelining sends many requests before it reads an answer.
func TestPairPipelining(t *testing.T) { eachWay(t, testPairPipelining) }

func testPairPipelining(t *testing.T, start func(testing.TB, string) *pair) {
	t.Helper()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.URL.Path, " ", string(body))
	})
	p := start(t, app)
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var requests strings.Builder
	const n = 200
	for i := range n {
		fmt.Fprintf(&requests, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", i)
	}
	go func() { _, _ = io.WriteString(c, requests.String()) }()
	r := bufio.NewReader(c)
	for i := range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		body, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("/%d abc", i); string(body) != want || err != nil {
			t.Fatalf("answer %d: %q, %v; want %q", i, body, err, want)
		}
	}
}

// TestPairKeepsReasons: HTTP/2 alone has no word for a status but its number.
func TestPairKeepsReasons(t *testing.T) {
	app := answering(t, "\r\n\r\n", "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
	for want, addr := range map[string]string{"200 Fine": startPair(t, app.addr, false).addr, "200 OK": startCarrying(t, app.addr).addr} {
		if got := raw(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 "+want+"\r\n") {
			t.Errorf("got %q, want %s", got, want)
		}
	}
}
