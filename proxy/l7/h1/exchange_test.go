package h1

import (
	"bufio"
	"context"
	"errors"
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

// TestEarlyAnswer has a server answer a request whose content it never reads: the
// answer must reach the client although the content is stuck.
func TestEarlyAnswer(t *testing.T) {
	for _, then := range []what{stays, closes} {
		over := make(chan struct{})
		origin := listen(t, func(c *net.TCPConn) {
			_, _ = readHead(bufio.NewReaderSize(c, 16))
			fmt.Fprint(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
			if then == stays {
				<-over
			}
		})
		c := dial(t, proxy(t, origin, testParams()))
		go func() {
			fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
			for chunk := make([]byte, 64<<10); ; {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); resp.StatusCode != 413 || string(b) != "no!" || err != nil {
			t.Errorf("got %d %q, %v", resp.StatusCode, b, err)
		}
		if n, err := io.Copy(io.Discard, c); n > 0 {
			t.Errorf("%d bytes behind the answer, %v", n, err)
		}
		close(over)
	}
}

// TestClientLeaves sees that a server is not left working for a client that is gone,
// whether or not the request had content.
func TestClientLeaves(t *testing.T) {
	for _, content := range []string{"", "Content-Length: 5\r\n\r\nhello", "Content-Length: 500\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello"} {
		came, gone := make(chan struct{}), make(chan struct{})
		origin := listen(t, func(c *net.TCPConn) {
			_, _ = readHead(bufio.NewReaderSize(c, 16))
			close(came)
			_, _ = io.Copy(io.Discard, c)
			close(gone)
		})
		c := dial(t, proxy(t, origin, testParams()))
		if content == "" {
			content = "\r\n"
		}
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a\r\n"+content)
		wait(t, came, "the request")
		_ = c.Close()
		wait(t, gone, "the server to be left")
	}
}

// TestClientLeavesAnswer sees the same while the response is on its way.
func TestClientLeavesAnswer(t *testing.T) {
	gone := make(chan struct{})
	origin := listen(t, func(c *net.TCPConn) {
		_, _ = readHead(bufio.NewReader(c))
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		for chunk := make([]byte, 64<<10); ; {
			if _, err := c.Write(chunk); err != nil {
				close(gone)
				return
			}
		}
	})
	c := dial(t, proxy(t, origin, testParams()))
	fmt.Fprint(c, last)
	_, _ = io.CopyN(io.Discard, c, 100_000)
	_ = c.Close()
	wait(t, gone, "the server to be left")
}

// TestExpect sees "expect: 100-continue" through: by a server that knows it, one
// that does not, and one that answers at once.
func TestExpect(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
	for name, tt := range map[string]struct {
		serve func(c net.Conn, rd *bufio.Reader)
		want  string // ahead of the final answer
	}{
		"asked for": {func(c net.Conn, rd *bufio.Reader) {
			fmt.Fprint(c, "HTTP/1.1 100 Continue\r\nX: y\r\n\r\n")
			b := make([]byte, 5)
			_, _ = io.ReadFull(rd, b)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n%s", b)
		}, "HTTP/1.1 100 Continue\r\nx: y\r\n\r\n"},
		"not known": {func(c net.Conn, rd *bufio.Reader) {
			b := make([]byte, 5)
			_, _ = io.ReadFull(rd, b)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n%s", b)
		}, "HTTP/1.1 100 Continue\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := listen(t, func(c *net.TCPConn) {
				rd := bufio.NewReader(c)
				got, _ := readHead(rd)
				has(t, "the request", got, "\r\nexpect: 100-continue\r\n")
				tt.serve(c, rd)
			})
			p := testParams()
			p.Continue = 50 * time.Millisecond
			c := dial(t, proxy(t, origin, p))
			fmt.Fprint(c, head)
			rd := bufio.NewReader(c)
			if got, err := readHead(rd); got != tt.want {
				t.Fatalf("first came %q, %v, want %q", got, err, tt.want)
			}
			fmt.Fprint(c, "hello")
			got, err := io.ReadAll(rd)
			if has(t, "the answer", string(got), "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestExpectRefused has the final answer come at once: the client may or may not
// send its content, so the connection cannot go on.
func TestExpectRefused(t *testing.T) {
	s := &script{answer: "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"}
	origin := listen(t, func(c *net.TCPConn) {
		_, _ = readHead(bufio.NewReader(c))
		fmt.Fprint(c, s.answer)
		_, _ = io.Copy(io.Discard, c)
	})
	got := must(t, proxy(t, origin, testParams()), "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	has(t, "the answer", got, "HTTP/1.1 417 No\r\n", "connection: close", "!100 continue")
}

// TestEarlyHints passes 103 on ahead of the answer, at once.
func TestEarlyHints(t *testing.T) {
	goOn := make(chan struct{})
	origin := listen(t, func(c *net.TCPConn) {
		_, _ = readHead(bufio.NewReader(c))
		fmt.Fprint(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: close, X-Hop\r\nX-Hop: y\r\n\r\n")
		<-goOn
		fmt.Fprint(c, okay)
	})
	for version, want := range map[string]string{"1.1": "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"} {
		c := dial(t, proxy(t, origin, testParams()))
		fmt.Fprintf(c, "GET / HTTP/%s\r\nHost: a\r\n\r\n", version)
		rd := bufio.NewReader(c)
		if got, err := readHead(rd); got != want {
			t.Errorf("first came %q, %v; want %q", got, err, want)
		}
		close(goOn)
		got, _ := readHead(rd)
		has(t, "the answer", got, "HTTP/1.1 200 OK\r\n")
	}
}

// TestUpgradeWithBytesAhead keeps what a client sends before the 101 for the tunnel.
func TestUpgradeWithBytesAhead(t *testing.T) {
	goOn := make(chan struct{})
	origin := listen(t, func(c *net.TCPConn) {
		rd := bufio.NewReader(c)
		_, _ = readHead(rd)
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if b, err := rd.ReadByte(); err == nil {
			t.Errorf("%q came ahead of the 101", b)
		}
		_ = c.SetReadDeadline(time.Time{})
		close(goOn)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(c, rd)
	})
	c := dial(t, proxy(t, origin, testParams()))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly")
	wait(t, goOn, "the origin")
	fmt.Fprint(c, " and late")
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if !strings.HasSuffix(string(got), "\r\n\r\nearly and late") || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestTunnelIsNotKept has a client ask for a tunnel, and another for something else
// afterwards, and during: none gets the tunnel's connection.
func TestTunnelIsNotKept(t *testing.T) {
	var conns atomic.Int32
	origin := listen(t, func(c *net.TCPConn) {
		conns.Add(1)
		rd := bufio.NewReader(c)
		for {
			head, err := readHead(rd)
			if err != nil {
				return
			}
			if strings.HasPrefix(head, "CONNECT") {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
				continue
			}
			fmt.Fprint(c, okay)
		}
	})
	addr := proxy(t, origin, testParams())
	tunnel := dial(t, addr)
	fmt.Fprint(tunnel, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n")
	rd := bufio.NewReader(tunnel)
	_, _ = readHead(rd)
	has(t, "during", must(t, addr, last), "200 OK")
	fmt.Fprint(tunnel, last)
	if got, err := readHead(rd); strings.Contains(got, "date") || err != nil { // nobody added to it
		t.Errorf("through the tunnel came %q, %v", got, err)
	}
	_ = tunnel.Close()
	has(t, "afterwards", must(t, addr, last), "200 OK")
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestServeDrains sees an idle connection closed, and one with a request in hand
// closed behind its answer.
func TestServeDrains(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			goOn := make(chan struct{})
			svc := func(ctx context.Context, _ *stack.Request) (*stack.Response, error) {
				<-goOn
				return &stack.Response{Status: 200, Body: stack.Empty()}, ctx.Err()
			}
			client, server := net.Pipe()
			done := make(chan error, 1)
			p := testParams()
			go func() { done <- Serve(ctx, &stack.Conn{Conn: server}, svc, &p) }()
			if busy {
				fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			}
			synctest.Wait()
			cancel()
			synctest.Wait()
			close(goOn)
			got, err := io.ReadAll(client)
			if err != nil || strings.Contains(string(got), "200 OK") != busy || strings.Contains(string(got), "connection: close") != busy {
				t.Errorf("busy %t: got %q, %v", busy, got, err)
			}
			if err := <-done; err != nil {
				t.Errorf("busy %t: Serve returned %v", busy, err)
			}
		})
	}
}

// TestStaleConnection has a server close a kept connection: the next request, even a
// POST, goes by another one, and so does what the connection took no byte of.
func TestStaleConnection(t *testing.T) {
	closed := make(chan struct{})
	var conns atomic.Int32
	origin := listen(t, func(c *net.TCPConn) {
		rd := bufio.NewReader(c)
		nth := conns.Add(1)
		head, err := readHead(rd)
		if err == nil {
			_, err = skipContent(rd, head)
		}
		if err != nil {
			return
		}
		fmt.Fprint(c, okay)
		if nth == 1 {
			_ = c.Close()
			close(closed)
		}
	})
	addr := proxy(t, origin, testParams())
	post := "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
	has(t, "first", must(t, addr, post), "200 OK")
	wait(t, closed, "the server to close")
	has(t, "second", must(t, addr, post), "200 OK")
}

// A deaf connection takes no byte of a second message.
type deaf struct {
	net.Conn
	writes int
}

var errDeaf = errors.New("deaf")

func (d *deaf) Write(p []byte) (int, error) {
	if d.writes++; d.writes > 1 {
		return 0, errDeaf
	}
	return d.Conn.Write(p)
}

// TestUnsent sends a request again only if nothing of it was taken, on a kept
// connection, and says of an error whether the request is spent.
func TestUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var dials atomic.Int32
		fake := fakeServers(&dials)
		refuse := false
		p := NewPool(ctx, func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
			if refuse {
				return nil, fmt.Errorf("%w: %w", stack.ErrUnsent, errDeaf)
			}
			c, err := fake(ctx, s)
			c.Conn = &deaf{Conn: c.Conn}
			return c, err
		}, testParams(), nil)
		_ = get(t, p, "a").Body.Close(nil)
		_ = get(t, p, "a").Body.Close(nil)
		if n := dials.Load(); n != 2 {
			t.Errorf("%d dials, want 2", n)
		}
		refuse = true
		ask := func() error {
			_, err := p.Do(ctx, &stack.Request{Version: stack.HTTP11, Method: "GET", Path: "/", Authority: "a", Form: stack.AbsoluteForm, Scheme: "http", Body: stack.Empty()})
			return err
		}
		if err := ask(); !errors.Is(err, stack.ErrUnsent) {
			t.Errorf("refused at once: %v, want it unsent", err)
		}
		refuse = false
		r := &stack.Request{Version: stack.HTTP11, Method: "GET", Path: "/", Authority: "a", Form: stack.AbsoluteForm, Scheme: "http", Body: stack.Empty()}
		resp, err := p.Do(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close(nil)
		refuse = true
		if err := ask(); errors.Is(err, stack.ErrUnsent) || !errors.Is(err, errDeaf) {
			t.Errorf("refused after a kept connection was deaf: %v, want its cause but not unsent", err)
		}
	})
}

// TestFewWrites has the answers to requests that came together leave together.
func TestFewWrites(t *testing.T) {
	client, server := net.Pipe()
	counted := &writes{Conn: server}
	done := make(chan error, 1)
	p := testParams()
	go func() { done <- Serve(t.Context(), &stack.Conn{Conn: counted}, echoing, &p) }()
	go func() {
		fmt.Fprint(client, strings.Repeat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 20)+last)
	}()
	got, _ := io.ReadAll(client)
	if n := strings.Count(string(got), "200 OK"); n != 21 {
		t.Errorf("%d answers", n)
	}
	_ = client.Close()
	<-done
	if n := counted.n.Load(); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}

type writes struct {
	net.Conn
	n atomic.Int32
}

func (w *writes) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

// TestForgottenContext has a service leave a context behind that derives from its
// own. It hears of the end in a goroutine of its own, which must not find the next
// request's exchange in the place of the one that ended.
func TestForgottenContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own, left []context.Context
		svc := func(ctx context.Context, _ *stack.Request) (*stack.Response, error) {
			child, cancel := context.WithCancel(ctx)
			if own, left = append(own, ctx), append(left, child); len(left) > 1 {
				cancel()
			}
			_ = cancel
			return &stack.Response{Status: 200, Body: stack.Empty()}, nil
		}
		c := &recording{text: []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 3)), piece: 10}
		p := testParams()
		if err := Serve(t.Context(), &stack.Conn{Conn: c}, svc, &p); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if own[0] == own[1] || own[1] != own[2] {
			t.Error("want the first exchange left to the context, and the second used again")
		}
		if err := context.Cause(left[0]); !errors.Is(err, errOver) {
			t.Errorf("the context ended with %v", err)
		}
	})
}
