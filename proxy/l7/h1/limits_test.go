package h1

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// echoing answers every request that it can read with 200 and what was asked for.
func echoing(ctx context.Context, r *stack.Request) (*stack.Response, error) {
	var got []byte
	for {
		chunk, err := r.Body.Next(ctx)
		got = append(got, chunk...)
		if err == io.EOF { //nolint:errorlint // the contract is io.EOF itself
			return &stack.Response{Status: 200, Body: stack.Bytes(got)}, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// status returns the first answer's status.
func status(t *testing.T, answer string) string {
	t.Helper()
	line, _, ok := strings.Cut(strings.TrimPrefix(answer, "HTTP/1.1 "), " ")
	if !ok {
		t.Errorf("answer %q", answer)
	}
	return line
}

const last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// TestRequestLimits goes to each limit of a request, and one over it.
func TestRequestLimits(t *testing.T) {
	chunked := func(body string) string {
		return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body + "0\r\n\r\n" + last
	}
	withTrailer := func(trailer string) string {
		return strings.TrimSuffix(chunked(""), "\r\n"+last) + trailer + "\r\n" + last
	}
	padded := func(first string, size int) string { // a head of that many bytes
		return first + "X: " + strings.Repeat("y", size-len(first)-len("X: \r\n\r\n")) + "\r\n\r\n"
	}
	const line = "GET / HTTP/1.1\r\nHost: a\r\n"
	for _, tt := range []struct {
		name  string
		limit int
		text  func(n int) string
		over  string
	}{
		{"HeadBytes", 64 << 10, func(n int) string { return padded(line, n) + last }, "431"},
		{"HeadBytes in the target", 64 << 10, func(n int) string {
			return "GET /" + strings.Repeat("y", n-len(line)-2) + line[5:] + "\r\n" + last
		}, "431"},
		{"Fields", 200, func(n int) string { return line + strings.Repeat("X: y\r\n", n-1) + "\r\n" + last }, "431"},
		{"HeadBytes in a trailer", 64 << 10, func(n int) string { return withTrailer("X: " + strings.Repeat("y", n-7) + "\r\n") }, "431"},
		{"Fields in a trailer", 200, func(n int) string { return withTrailer(strings.Repeat("X: y\r\n", n)) }, "431"},
		{"sizeDigits", sizeDigits, func(n int) string { return chunked(strings.Repeat("0", n-1) + "1\r\nx\r\n") }, "400"},
		{"maxExtension", maxExtension, func(n int) string { return chunked("1;" + strings.Repeat("x", n-1) + "\r\nx\r\n") }, "400"},
		{"maxExtensions", maxExtensions, func(n int) string {
			some := strings.Repeat("1;"+strings.Repeat("x", 127)+"\r\nx\r\n", n/128)
			return chunked(some + "1" + strings.Repeat(";", n%128) + "\r\nx\r\n")
		}, "400"},
		{"maxEmptyLines", maxEmptyLines, func(n int) string { return strings.Repeat("\r\n", n) + last }, "400"},
		{"maxEmptyLines between", maxEmptyLines, func(n int) string { return line + "\r\n" + strings.Repeat("\r\n", n) + last }, "200 then 400"},
		{"maxOptions", maxOptions, func(n int) string { return line + "Connection: " + strings.Repeat("x,", n-1) + "close\r\n\r\n" }, "400"},
		{"length's digits", 18, func(n int) string {
			return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + strings.Repeat("0", n-1) + "1\r\n\r\nx" + last
		}, "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := serve(t, rescued(echoing), testParams(), raw)
			if got := must(t, addr, tt.text(tt.limit)); status(t, got) != "200" || strings.Contains(got, "HTTP/1.1 4") {
				t.Errorf("at the limit: %q", got)
			}
			got := must(t, addr, tt.text(tt.limit+1))
			statuses := status(t, got)
			if i := strings.LastIndex(got, "HTTP/1.1 "); i > 0 {
				statuses += " then " + status(t, got[i:])
			}
			if statuses != tt.over {
				t.Errorf("over the limit: %q, want %s", got, tt.over)
			}
		})
	}
}

// TestResponseLimits goes to each limit of a response, and one over it.
func TestResponseLimits(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	chunked := func(size, trailer string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + "\r\nx\r\n0\r\n" + trailer + "\r\n"
	}
	for _, tt := range []struct {
		name  string
		limit int
		text  func(n int) string
		over  fate
	}{
		{"HeadBytes", 64 << 10, func(n int) string { return ok + "X: " + strings.Repeat("y", n-len(ok)-7) + "\r\n\r\n" }, refusedAs502},
		{"Fields", 200, func(n int) string { return ok + strings.Repeat("X: y\r\n", n-1) + "\r\n" }, refusedAs502},
		{"HeadBytes in a trailer", 64 << 10, func(n int) string { return chunked("1", "X: "+strings.Repeat("y", n-7)+"\r\n") }, cut},
		{"Fields in a trailer", 200, func(n int) string { return chunked("1", strings.Repeat("X: y\r\n", n)) }, cut},
		{"sizeDigits", sizeDigits, func(n int) string { return chunked(strings.Repeat("0", n-1)+"1", "") }, cut},
		{"maxExtension", maxExtension, func(n int) string { return chunked("1;"+strings.Repeat("x", n-1), "") }, cut},
		{"maxInterims", maxInterims, func(n int) string { return strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", n) + ok + "\r\n" }, refusedAs502},
		{"maxOptions", maxOptions, func(n int) string { return ok + "Connection: " + strings.Repeat("x,", n-1) + "x\r\n\r\n" }, refusedAs502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for extra, want := range []fate{whole, tt.over} {
				v := hostileAnswer{"", tt.text(tt.limit + extra), "GET", want, stays}
				addr := proxy(t, listen(t, func(c *net.TCPConn) { v.serve(c, 1) }), testParams())
				text, err := talk(t, addr, "GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				got := whole
				switch {
				case err != nil:
					got = cut
				case strings.Contains(text, "HTTP/1.1 502"):
					got = refusedAs502
				}
				if got != want {
					t.Errorf("%d over the limit: %s (%v), want %s; answer %q", extra, got, err, want, text)
				}
			}
		})
	}
}

// TestDrainLimit has a service answer without a look at the request's content,
// which is read to save the connection up to the limit, and not beyond.
func TestDrainLimit(t *testing.T) {
	p := testParams()
	p.Drain = 100_000
	early := func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Status: 200, Body: stack.Empty()}, nil
	}
	addr := serve(t, early, p, raw)
	for _, chunked := range []bool{false, true} {
		for n, answers := range map[int]int{p.Drain: 2, p.Drain + 1: 1} {
			head, content := fmt.Sprintf("Content-Length: %d", n), strings.Repeat("x", n)
			if chunked {
				head, content = "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, content)
			}
			got := must(t, addr, "POST / HTTP/1.1\r\nHost: a\r\n"+head+"\r\n\r\n"+content+last)
			if strings.Count(got, "HTTP/1.1 200") != answers {
				t.Errorf("%d bytes, chunked %t: got %q, want %d answers", n, chunked, got, answers)
			}
		}
	}
}

// TestHeadTime counts from a head's first byte: an idle connection is not under it,
// nor are empty lines a head.
func TestHeadTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testParams()
		client, server := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- Serve(t.Context(), &stack.Conn{Conn: server}, echoing, &p) }()
		rd := bufio.NewReader(client)
		say := func(text string) {
			if _, err := io.WriteString(client, text); err != nil {
				t.Fatal(err)
			}
		}
		answer := func(want int) {
			t.Helper()
			resp, err := http.ReadResponse(rd, nil)
			if err != nil || resp.StatusCode != want {
				t.Fatalf("got %v, %v, want %d", resp, err, want)
			}
		}
		time.Sleep(100 * p.HeadTime)
		say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		answer(200)
		time.Sleep(100 * p.HeadTime)
		say("\r\n")
		time.Sleep(100 * p.HeadTime)
		say("GET / HT")
		time.Sleep(p.HeadTime - 1)
		say("TP/1.1\r\nHost: a\r\n\r\n")
		answer(200)
		say("G")
		time.Sleep(p.HeadTime / 2)
		say("E")
		since := time.Now()
		answer(408)
		if d := time.Since(since); d != p.HeadTime/2 {
			t.Errorf("408 after %v more, want %v", d, p.HeadTime/2)
		}
		_ = client.Close()
		if err := <-done; err == nil {
			t.Error("Serve returned no error")
		}
	})
}

// fakeServers dial connections in memory, to a server that answers each request.
func fakeServers(dials *atomic.Int32) stack.Dialer {
	return func(context.Context, stack.Session) (*stack.Conn, error) {
		dials.Add(1)
		client, server := net.Pipe()
		go func() {
			rd := bufio.NewReader(server)
			for {
				if _, err := http.ReadRequest(rd); err != nil {
					_ = server.Close()
					return
				}
				_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
			}
		}()
		return &stack.Conn{Conn: client}, nil
	}
}

// get sends a request for host to p, and returns the response, unread.
func get(t *testing.T, p *Pool, host string) *stack.Response {
	t.Helper()
	r := &stack.Request{Version: stack.HTTP11, Method: "GET", Scheme: "http", Authority: host, Path: "/", Body: stack.Empty()}
	r.Header.Add("host", host)
	resp, err := p.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func (p *Pool) kept() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// TestPoolLimits keeps no more idle connections than MaxIdle, for no more
// authorities than maxKeys, and no longer than Idle.
func TestPoolLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		params := testParams()
		params.MaxIdle = 3
		var dials atomic.Int32
		p := NewPool(ctx, fakeServers(&dials), params, nil)
		var open []*stack.Response
		for range params.MaxIdle + 1 {
			open = append(open, get(t, p, "a"))
		}
		for _, r := range open {
			_ = r.Body.Close(nil)
		}
		if n := p.kept(); n != params.MaxIdle {
			t.Errorf("%d connections are kept, want %d", n, params.MaxIdle)
		}
		time.Sleep(params.Idle - 1)
		_ = get(t, p, "a").Body.Close(nil)
		if n := dials.Load(); n != 4 {
			t.Errorf("%d dials, want 4: an idle one could be used", n)
		}
		time.Sleep(params.Idle)
		_ = get(t, p, "a").Body.Close(nil)
		if n := dials.Load(); n != 5 {
			t.Errorf("%d dials, want 5: the idle one was too old", n)
		}
		time.Sleep(2 * params.Idle)
		if n := p.kept(); n != 0 || p.sweep != nil {
			t.Errorf("%d connections are kept after a while", n)
		}
		cancel()
		synctest.Wait()
	})
}

func TestPoolKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		params := testParams()
		params.MaxIdle = 2 * maxKeys
		var dials atomic.Int32
		p := NewPool(ctx, fakeServers(&dials), params, nil)
		for i := range maxKeys + 1 {
			_ = get(t, p, fmt.Sprint("host", i)).Body.Close(nil)
		}
		if n := p.kept(); n != maxKeys {
			t.Errorf("%d connections are kept, want %d", n, maxKeys)
		}
		cancel()
		synctest.Wait()
		if n := p.kept(); n != 0 {
			t.Errorf("%d connections are kept after the end", n)
		}
		late := get(t, p, "host1") // in flight as the pool ends, as far as that knows
		_ = late.Body.Close(nil)
		if n := p.kept(); n != 0 {
			t.Errorf("a connection was put into a closed pool")
		}
	})
}
