package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A load is clients that send without pause until they are stopped, each one
// piece of work after another.
type load struct {
	*ledger
	name string
	stop func() // waits until all are answered

	conns atomic.Int64 // that were opened
}

// perConn is how many pieces of work a client sends on one connection, at most.
const perConn = 64

// startLoad runs n clients that ask addr for host, or if host is "" send lines.
func startLoad(tb testing.TB, l *ledger, name, addr, host string, n int) *load {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	ld := &load{ledger: l, name: name}
	ld.stop = sync.OnceFunc(func() { cancel(); clients.Wait() })
	tb.Cleanup(ld.stop)
	for i := range n {
		c := &loadClient{load: ld, addr: addr, host: host, name: fmt.Sprintf("%s-%d", name, i)}
		clients.Go(func() { c.run(ctx) })
	}
	return ld
}

// A loadClient is one client of a load. It never sends anything twice.
type loadClient struct {
	*load
	addr, host, name string
	sent             int
	conn             net.Conn
	r                *bufio.Reader
}

func (c *loadClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.session(ctx); err != nil {
			return // one failure is enough to fail the test
		}
	}
}

// session is one connection.
func (c *loadClient) session(ctx context.Context) error {
	conn, err := net.DialTimeout("tcp", c.addr, patience)
	if err != nil {
		c.lose(c.name, err)
		return err
	}
	defer conn.Close()
	c.conns.Add(1)
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	c.conn, c.r = conn, bufio.NewReader(conn)
	for range 1 + rand.IntN(perConn) {
		c.sent++
		id := fmt.Sprintf("%s-%d", c.name, c.sent)
		c.send(id)
		again, err := c.exchange(id)
		if err != nil {
			c.lose(id, err)
			return err
		}
		c.answer(id)
		if !again || ctx.Err() != nil {
			break
		}
	}
	return c.leave()
}

// leave ends an opaque connection in order, which its server is to see.
func (c *loadClient) leave() error {
	if c.host != "" {
		return nil
	}
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		c.lose(c.name, err)
		return err
	}
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.lose(c.name, fmt.Errorf("after the end: %q, %w", rest, err))
		return errors.New("no regular end")
	}
	return nil
}

func (c *loadClient) exchange(id string) (again bool, err error) {
	if c.host == "" {
		return true, c.line(id)
	}
	var body []byte
	method := http.MethodGet
	if c.sent%4 == 0 {
		method = http.MethodPost
		body = bytes.Repeat([]byte{byte('a' + c.sent%26)}, 1<<rand.IntN(16))
	}
	head := fmt.Sprintf("%s /%s HTTP/1.1\r\nHost: %s\r\nX-Id: %s\r\nKeep-Alive: seen\r\n", method, c.load.name, c.host, id)
	if body != nil {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if _, err := c.conn.Write(append([]byte(head+"\r\n"), body...)); err != nil {
		return false, err
	}
	return c.response(id, method, body)
}

func (c *loadClient) response(id, method string, want []byte) (again bool, err error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return false, err
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return false, err
	case resp.StatusCode != http.StatusOK:
		return false, fmt.Errorf("%d, %q", resp.StatusCode, resp.Header["L5d-Proxy-Error"])
	case resp.Header.Get("x-id") != id:
		return false, fmt.Errorf("the answer to %q", resp.Header.Get("x-id"))
	case !bytes.Equal(got, want):
		return false, fmt.Errorf("%d bytes came back, of %d", len(got), len(want))
	}
	return !resp.Close, nil
}

func (c *loadClient) line(id string) error {
	if _, err := fmt.Fprintln(c.conn, id); err != nil {
		return err
	}
	got, err := c.r.ReadString('\n')
	if err == nil && strings.TrimSuffix(got, "\n") != id {
		err = fmt.Errorf("the answer to %q", got)
	}
	return err
}
