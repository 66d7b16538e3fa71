package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// keptWorkers is how many goroutines a listener keeps for its next connections.
const keptWorkers = 32

// held counts what a process can leak.
func held(tb testing.TB) (goroutines, files int) {
	tb.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Skip("SKIPPED: open files are counted where there is /proc only")
	}
	return runtime.NumGoroutine(), len(fds)
}

// returns waits until no more is held than before.
func returns(tb testing.TB, what string, goroutines, files int) {
	tb.Helper()
	var g, f int
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-pace.C {
		if g, f = held(tb); g <= goroutines && f <= files {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	tb.Errorf("%s: %d goroutines and %d files, where there were %d and %d\n%s", what, g, f, goroutines, files, stacks[:runtime.Stack(stacks, true)])
}

// TestNothingLeaks breaks off work at each of its stages, and wants two sidecars
// to hold then little more than when nobody had used them; and nothing when they
// have ended.
func TestNothingLeaks(t *testing.T) {
	goroutines, files := held(t)
	t.Run("pair", func(t *testing.T) {
		app := origin(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/slow":
				<-r.Context().Done()
			case "/long":
				_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
			default:
				_, _ = io.Copy(io.Discard, r.Body)
			}
		})
		p := startPair(t, app, false,
			"LINKERD2_PROXY_OUTBOUND_DISCOVERY_IDLE_TIMEOUT=500ms", "LINKERD2_PROXY_INBOUND_DISCOVERY_IDLE_TIMEOUT=500ms",
			"LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT=10s", "LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT=10s",
			"LINKERD2_PROXY_OUTBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT=100ms", "LINKERD2_PROXY_INBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT=100ms")
		send(t, p.addr, asking) // from here on the control plane is connected to
		g, f := held(t)
		for range 5 {
			p.breakOff(t, 16)
		}
		returns(t, "after the clients have left", g+2*keptWorkers+10, f+4) // a stage that left one each time would leave 80
	})
	returns(t, "after the sidecars have ended", goroutines, files)
}

// breakOff has n clients at once leave work at each of its stages.
func (p *pair) breakOff(tb testing.TB, n int) {
	tb.Helper()
	var clients sync.WaitGroup
	for _, stage := range []struct{ say, answer string }{
		{"", ""},
		{"GE", ""},
		{"GET / HTTP/1.1\r\nHost: a", ""},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", ""},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", ""},
		{"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{"GET /long HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"},
		{"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 10), ""},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400"},
		{"\x00 not HTTP", ""},
	} {
		for i := range n {
			clients.Go(func() {
				c, err := net.Dial("tcp", p.addr)
				if err != nil {
					tb.Error(err)
					return
				}
				defer c.Close()
				if i%2 == 1 {
					_ = c.(*net.TCPConn).SetLinger(0) // which makes the end a reset
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(c, stage.say)
				answer := make([]byte, len(stage.answer))
				if _, err := io.ReadFull(c, answer); err != nil || string(answer) != stage.answer {
					tb.Error(fmt.Errorf("%q: %q, %w", stage.say, answer, err))
				}
			})
		}
	}
	clients.Wait()
}
