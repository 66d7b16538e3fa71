package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPairBodies echoes bodies of all sizes through two proxies, by length and in
// chunks, with trailers: what comes back is what was sent.
func TestPairBodies(t *testing.T) { eachWay(t, testPairBodies) }

func testPairBodies(t *testing.T, start func(testing.TB, string) *pair) {
	t.Helper()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the server read %d bytes: %v", len(body), err)
		}
		w.Header().Set("x-request-trailer", r.Trailer.Get("x-sum"))
		if r.ContentLength < 0 {
			w.Header().Set("trailer", "x-sum")
			_ = http.NewResponseController(w).Flush()
		} else {
			w.Header().Set("content-length", fmt.Sprint(len(body)))
		}
		_, _ = w.Write(body)
		w.Header().Set("x-sum", sum(body))
	})
	p := start(t, app)
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for _, size := range []int{0, 1, 127, 4096, 16<<10 - 1, 16 << 10, 64<<10 + 1, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			body := make([]byte, size)
			for i := range body {
				body[i] = byte(rand.Uint32())
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+p.addr+"/", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if chunked {
				req.ContentLength = -1
				req.Body = io.NopCloser(unevenReader{bytes.NewReader(body)})
				req.Trailer = http.Header{"X-Sum": {sum(body)}}
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%d bytes, chunked %t: %v", size, chunked, err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, chunked %t: %s with %d bytes came back, %v; %s", size, chunked, resp.Status, len(got), err, resp.Header.Get("l5d-proxy-error"))
			}
			if want := sum(body); chunked && (resp.Trailer.Get("x-sum") != want || resp.Header.Get("x-request-trailer") != want) {
				t.Errorf("%d bytes: trailers %v and %q; want %q", size, resp.Trailer, resp.Header["X-Request-Trailer"], want)
			}
		}
	}
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// An unevenReader reads pieces of all sizes.
type unevenReader struct{ r io.Reader }

func (r unevenReader) Read(b []byte) (int, error) { return r.r.Read(b[:1+rand.IntN(len(b))]) }

// TestPairExpect has a client that waits for 100 (Continue) before it sends its
// content.
func TestPairExpect(t *testing.T) { eachWay(t, testPairExpect) }

func testPairExpect(t *testing.T, start func(testing.TB, string) *pair) {
	t.Helper()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c := dial(t, start(t, app).addr)
	r := bufio.NewReader(c)
	_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("%+v, %v; want 100", resp, err)
	}
	_, _ = io.WriteString(c, "abc")
	resp, err = http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "abc" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

func dial(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// TestPairTunnels makes tunnels by both of HTTP/1's ways: bytes go both ways, and
// either side may end first.
func TestPairTunnels(t *testing.T) { eachWay(t, testPairTunnels) }

func testPairTunnels(t *testing.T, start func(testing.TB, string) *pair) {
	t.Helper()
	for _, test := range []struct{ name, request, answer string }{
		{"upgrade", "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhello\n"},
		{"connect", "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhello\n"},
	} {
		for _, serverFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, server ends first %t", test.name, serverFirst), func(t *testing.T) {
				app := replier(t, func(c net.Conn) {
					r := bufio.NewReader(c)
					if _, err := http.ReadRequest(r); err != nil {
						t.Error(err)
					}
					_, _ = io.WriteString(c, test.answer)
					if line, _ := r.ReadString('\n'); line != "ping\n" {
						t.Errorf("the server got %q", line)
					}
					_, _ = io.WriteString(c, "pong\n")
					if serverFirst {
						_ = c.(*net.TCPConn).CloseWrite()
					}
					if rest, err := io.ReadAll(r); string(rest) != "bye" || err != nil {
						t.Errorf("the server got %q at the end, %v", rest, err)
					}
					_, _ = io.WriteString(c, "and good night")
				})
				c := dial(t, start(t, app).addr)
				r := bufio.NewReader(c)
				_, _ = io.WriteString(c, test.request+"ping\n")
				head := ""
				for !strings.HasSuffix(head, "\r\n\r\n") {
					line, err := r.ReadString('\n')
					if err != nil {
						t.Fatalf("%q: %v", head+line, err)
					}
					head += line
				}
				if line, err := r.ReadString('\n'); line != "hello\n" || err != nil {
					t.Fatalf("%q, %q, %v", head, line, err)
				}
				if line, err := r.ReadString('\n'); line != "pong\n" {
					t.Fatalf("%q, %v", line, err)
				}
				want := "and good night"
				if serverFirst {
					want = ""
					if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
						t.Errorf("after the server's end: %q, %v", rest, err)
					}
				}
				_, _ = io.WriteString(c, "bye")
				_ = c.CloseWrite()
				if rest, err := io.ReadAll(r); string(rest) != want || err != nil {
					t.Errorf("the client got %q at the end, %v; want %q", rest, err, want)
				}
			})
		}
	}
}

// TestPairOpaque carries bytes that are not HTTP through two proxies, with either
// side speaking first, and ends either half first.
func TestPairOpaque(t *testing.T) {
	greeting := replier(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 ready\n")
		got, err := io.ReadAll(c)
		if string(got) != "QUIT\n" || err != nil {
			t.Errorf("the server got %q, %v", got, err)
		}
		_, _ = io.WriteString(c, "221 bye\n")
	})
	_, port, _ := net.SplitHostPort(greeting)
	c := dial(t, startPair(t, greeting, true, "LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION="+port).addr)
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); line != "220 ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = io.WriteString(c, "QUIT\n")
	_ = c.CloseWrite()
	if rest, err := io.ReadAll(r); string(rest) != "221 bye\n" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}
