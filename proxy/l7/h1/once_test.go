package h1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// TestExactlyOnce has an origin that reads a whole request on a reused connection
// and then closes it, now and then. Nobody can know whether that request was
// executed: it must not be sent again, and its client is told.
func TestExactlyOnce(t *testing.T) {
	const requests, clients = 2000, 4
	o := &careless{executed: map[string]int{}, dropped: map[string]bool{}}
	addr := proxy(t, listen(t, o.serve), testParams())
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := range requests / clients {
				o.ask(t, addr, fmt.Sprintf("/%d/%d", client, i))
			}
		})
	}
	wg.Wait()
	if len(o.executed) != requests {
		t.Errorf("%d of %d requests arrived", len(o.executed), requests)
	}
	if n := len(o.dropped); n < requests/100 {
		t.Errorf("only %d requests met a closing connection", n)
	}
	for id, n := range o.executed {
		if n != 1 {
			t.Errorf("%s was executed %d times", id, n)
		}
	}
}

// A careless origin executes every request, and forgets to answer some.
type careless struct {
	mu       sync.Mutex
	executed map[string]int
	dropped  map[string]bool
}

// execute notes the nth request on a connection, and reports whether it is to be
// answered.
func (o *careless) execute(id string, nth int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.executed[id]++
	if nth > 0 && len(o.executed)%29 == 0 {
		o.dropped[id] = true
		return false
	}
	return true
}

func (o *careless) serve(c *net.TCPConn) {
	rd := bufio.NewReader(c)
	for nth := 0; ; nth++ {
		r, err := http.ReadRequest(rd)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if !o.execute(r.URL.Path, nth) {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
	}
}

// ask sends one request, by turns a GET and a POST, each on a client connection of
// its own, and looks at what was made of it.
func (o *careless) ask(t *testing.T, addr, id string) {
	t.Helper()
	method := "GET"
	content := ""
	if id[len(id)-1]%2 == 1 {
		method, content = "POST", "hello"
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, id, len(content), content)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	fmt.Fprint(c, text)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Errorf("%s %s: %v", method, id, err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	o.mu.Lock()
	defer o.mu.Unlock()
	want := 200
	if o.dropped[id] {
		want = 502
	}
	if resp.StatusCode != want || o.executed[id] != 1 {
		t.Errorf("%s %s: %d, want %d; executed %d times", method, id, resp.StatusCode, want, o.executed[id])
	}
}
