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

	"golang.org/x/sys/unix"
)

// A reply is what a client got for one request on a connection of its own.
type reply struct {
	status int
	header http.Header
	body   string
	close  bool  // the client was told to leave
	err    error // of the content
}

func (r reply) cause() string { return r.header.Get("l5d-proxy-error") }

// send sends a request as it stands, and reads its answer. It fails the test if
// there is none.
func send(tb testing.TB, addr, request string) reply {
	tb.Helper()
	r, err := trySend(addr, request)
	if err != nil {
		tb.Fatalf("%q: %v", request, err)
	}
	return r
}

func trySend(addr, request string) (reply, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return reply{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		return reply{}, err
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), resp.Close, err}, nil
}

// asking is a request for web, the only service of many a test.
const (
	webHost = "web.demo.svc.cluster.local"
	asking  = "GET / HTTP/1.1\r\nHost: " + webHost + "\r\n\r\n"
)

// A replier serves each connection with what it is.
func replier(tb testing.TB, serve func(net.Conn)) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			serve(c)
			_ = c.Close()
		}
	}()
	tb.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// saying answers a request with text, and ends the connection.
func saying(tb testing.TB, text string) string {
	tb.Helper()
	return replier(tb, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, text)
		}
	})
}

// full returns the address of a listener whose backlog is full: nobody accepts.
func full(tb testing.TB) string {
	tb.Helper()
	a := listenApplication(tb, "full")
	tb.Cleanup(func() { _ = a.l.Close() })
	raw, err := a.l.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	if err = raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }); err != nil {
		tb.Fatal(err)
	}
	for range 3 { // the kernel holds one more than it says, and begins with another
		if c, err := net.DialTimeout("tcp", a.addr, 100*time.Millisecond); err == nil {
			tb.Cleanup(func() { _ = c.Close() })
		}
	}
	return a.addr
}

// TestAnswersForEndpoints has one endpoint, with which something is wrong.
func TestAnswersForEndpoints(t *testing.T) {
	for _, test := range []struct {
		name     string
		endpoint string
		request  string
		status   int
		cause    string
	}{
		{"refused", freeAddr(t), asking, 502, "connection refused"},
		{"no room", full(t), asking, 504, "connect timed out after 200ms"},
		{"closed without an answer", saying(t, ""), asking, 502, "server closed the connection without an answer"},
		{"no HTTP", saying(t, "220 mail.example ESMTP\r\n\r\n"), asking, 502, "refused response"},
		{"two lengths", saying(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), asking, 502, "refused response"},
		{"head too long", saying(t, "HTTP/1.1 200 OK\r\nx: "+strings.Repeat("x", 2000)+"\r\n\r\n"), asking, 502, "refused response"},
		{
			"identity required", saying(t, "HTTP/1.1 200 OK\r\n\r\n"), strings.Replace(asking, "\r\n\r\n", "\r\nL5d-Require-Id: a.b\r\n\r\n", 1),
			502, `endpoint does not have the required identity: required "a.b"`,
		},
		{"malformed", saying(t, "HTTP/1.1 200 OK\r\n\r\n"), "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host"},
		{"request too long", saying(t, "HTTP/1.1 200 OK\r\n\r\n"), "GET / HTTP/1.1\r\nHost: a\r\nx: " + strings.Repeat("x", 2000) + "\r\n\r\n", 431, "1024"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, quiet := range []bool{false, true} {
				c := startController(t, meshYAML(serviceYAML(webHost, false, test.endpoint)))
				addr := freeAddr(t)
				startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+addr+"="+webHost+":80",
					"LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT=200ms", "OUTRIGGER_HTTP_HEAD_BYTES=1024",
					fmt.Sprintf("LINKERD2_PROXY_OUTBOUND_DISABLE_INFORMATIONAL_HEADERS=%t", quiet))
				got := send(t, addr, test.request)
				if got.status != test.status || !got.close || got.body != "" || got.err != nil {
					t.Errorf("%+v; want %d without content, and the connection closed", got, test.status)
				}
				switch {
				case quiet && len(got.header["L5d-Proxy-Error"])+len(got.header["L5d-Proxy-Connection"]) > 0:
					t.Errorf("quiet, and yet %v", got.header)
				case !quiet && !strings.Contains(got.cause(), test.cause):
					t.Errorf("l5d-proxy-error is %q; want %q in it", got.cause(), test.cause)
				case !quiet && test.status >= 500 && !strings.Contains(got.cause(), webHost):
					t.Errorf("l5d-proxy-error is %q; want the destination's name in it", got.cause())
				}
			}
		})
	}
}

// TestAnswersForWhatIsCut has endpoints that begin an answer and do not end it: a
// client must not take it for a whole one.
func TestAnswersForWhatIsCut(t *testing.T) {
	for _, head := range []string{"Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		c := startController(t, meshYAML(serviceYAML(webHost, false, saying(t, "HTTP/1.1 200 OK\r\n"+head))))
		addr := freeAddr(t)
		startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+addr+"="+webHost+":80")
		got, err := trySend(addr, asking)
		if err == nil && got.err == nil {
			t.Errorf("%q: %+v; want a connection that is cut", head, got)
		}
	}
}

// TestAnswersWithoutEndpoints has a destination that loses its only endpoint, and
// gets another.
func TestAnswersWithoutEndpoints(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n\r\n"
	c := startController(t, meshYAML(serviceYAML(webHost, false, saying(t, ok))))
	addr := startNamed(t, c.addr, "LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT=500ms")
	until := func(status int) reply {
		for deadline := time.Now().Add(patience); ; {
			if got := send(t, addr, asking); got.status == status {
				return got
			} else if time.Now().After(deadline) {
				t.Fatalf("%+v; want %d in the end", got, status)
			}
		}
	}
	until(200)
	c.set(meshYAML(serviceYAML(webHost, false)))
	for _, want := range []struct {
		status int
		cause  string
	}{{504, "no endpoint became ready in time"}, {503, "failing fast, as no endpoint is ready"}} {
		if got := until(want.status); !strings.Contains(got.cause(), webHost+`:80": `+want.cause+": it has no endpoints") {
			t.Errorf("%d: %q", want.status, got.cause())
		}
	}
	c.set(meshYAML(serviceYAML(webHost, false, saying(t, ok))))
	until(200)
}

// TestAnswersWhenTheQueueIsFull has room for one request to wait.
func TestAnswersWhenTheQueueIsFull(t *testing.T) {
	c := startController(t, meshYAML(serviceYAML(webHost, false)))
	addr := startNamed(t, c.addr, "LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT=1s", "LINKERD2_PROXY_OUTBOUND_HTTP_QUEUE_CAPACITY=1")
	replies := make(chan reply)
	for range 3 {
		go func() {
			got, err := trySend(addr, asking)
			if err != nil {
				t.Error(err)
			}
			replies <- got
		}()
	}
	got := map[string]int{}
	for range 3 {
		r := <-replies
		_, why, _ := strings.Cut(r.cause(), webHost+`:80": `)
		got[fmt.Sprint(r.status, " ", why)]++
	}
	const silence = "no answer from the control plane yet" // as the real one says of what has no endpoints
	if got["504 no endpoint became ready in time: "+silence] != 1 || got["503 too many wait for an endpoint: "+silence] != 2 {
		t.Errorf("%v; want one that waits and two that find no room", got)
	}
}

// TestAnswersWhenShedding has room for one request.
func TestAnswersWhenShedding(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	app := origin(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-leave })
	c := startController(t, meshYAML(serviceYAML(webHost, false, app)))
	addr := freeAddr(t)
	startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+addr+"="+webHost+":80", "LINKERD2_PROXY_OUTBOUND_MAX_IN_FLIGHT=1")
	first := make(chan reply)
	go func() { r, _ := trySend(addr, asking); first <- r }()
	<-arrived
	if got := send(t, addr, asking); got.status != 503 || !strings.Contains(got.cause(), "too many requests in flight") {
		t.Errorf("one too many: %+v; want 503 and why", got)
	}
	close(leave)
	if got := <-first; got.status != 200 {
		t.Errorf("the first: %+v", got)
	}
}
