//go:build soak

package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestSoakInterop runs each of gRPC's short interoperability cases 1,000 times.
func TestSoakInterop(t *testing.T) { runInterop(t, 1000) }

// TestSoakMemory is TestMemory with ten thousand, and a thousand.
func TestSoakMemory(t *testing.T) { memory(t, 10_000, 1000) }

// TestSoakDrain is TestDrain with fifty runs.
func TestSoakDrain(t *testing.T) { drains(t, 50) }

// TestSoakDescriptors is TestDescriptors for a minute.
func TestSoakDescriptors(t *testing.T) { descriptors(t, 400, time.Minute, 5) }

// TestSoakLimitedMemory has 5,000 connections, some of which do not read on, in 64 MiB.
func TestSoakLimitedMemory(t *testing.T) { limitedMemory(t, 64<<20, 4500, 500, 30*time.Second) }

// TestSoakSlowReaders has 2,000 connections that do not read on in 64 MiB.
func TestSoakSlowReaders(t *testing.T) { slowReaders(t, 64<<20, 2000, 30*time.Second) }

// TestSoakSlowHeads has 400 clients that dribble. What is sent after 30 s is waited
// out, so that they can read their answer.
func TestSoakSlowHeads(t *testing.T) { slowHeads(t, 400, 36*time.Second) }

// slowHeads has n clients in each version and direction begin a request, and go on
// with a byte now and then. Others idle between two requests meanwhile.
func slowHeads(t *testing.T, n int, within time.Duration) {
	t.Helper()
	s := start(t, bothOrigin(t), "h1")
	idle := gather(20, s.listen, "/", true)
	var closed, answered atomic.Int64
	var clients sync.WaitGroup
	began := time.Now()
	for i := range n {
		clients.Go(func() {
			addr := []string{s.listen, s.inbound}[i%2]
			if dribble(t, addr, i%4 < 2, within) {
				answered.Add(1)
			}
			closed.Add(1)
		})
	}
	clients.Wait()
	t.Logf("%d clients that dribble heads were closed within %v, %d of them with an answer", closed.Load(), time.Since(began).Round(time.Millisecond), answered.Load())
	if answered.Load() < int64(n/2) {
		t.Error("those of HTTP/1 are to be answered 408")
	}
	if held := idle.held.Load(); held != 20 || idle.ok.Load() != 20 {
		t.Errorf("idle clients: %v; want all 20 still there, and each for the first time", idle)
	}
	idle.over(t)
}

// dribble sends a head byte by byte until the connection is closed. It reports
// whether a client of HTTP/1 was answered 408.
func dribble(t *testing.T, addr string, two bool, within time.Duration) (answered bool) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return false
	}
	defer c.Close()
	first := "GET / HTTP/1.1\r\nHost: a\r\nx-slow: "
	if two { // a block whose frame is never complete
		first = http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x10\x00\x01\x04\x00\x00\x00\x01"
	}
	fmt.Fprint(c, first)
	over := make(chan struct{})
	defer close(over)
	go func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				if _, err := c.Write([]byte("a")); err != nil {
					return
				}
			}
		}
	}()
	_ = c.SetReadDeadline(time.Now().Add(within))
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("not closed within %v; HTTP/2: %v", within, two)
	}
	return strings.HasPrefix(string(got), "HTTP/1.1 408")
}
