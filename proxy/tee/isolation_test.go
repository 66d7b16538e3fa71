package tee_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/tee"
)

// badConsumers misbehave, each in its way.
func badConsumers() map[string]tee.Consume {
	return map[string]tee.Consume{
		"never reads": stuck,
		"errs":        func(context.Context, *tee.Stream) error { return errors.New("disk is full") },
		"closes":      func(context.Context, *tee.Stream) error { return nil },
		"panics": func(ctx context.Context, s *tee.Stream) error {
			_, _ = s.Next(ctx)
			panic("consumer")
		},
		"sleeps 10 ms a chunk": func(ctx context.Context, s *tee.Stream) error {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for {
				if _, err := s.Next(ctx); err != nil {
					return err
				}
				<-pace.C
			}
		},
	}
}

// TestConsumersDoNotDisturb sends responses through the codec of HTTP/1 with a
// consumer that misbehaves, and in turn without: the client gets the same, and as
// soon. How soon is measured by TestSoakConsumersDoNotDisturb, since other tests may
// run beside this one; a client that waited for the slowest consumer would take a
// hundred times as long.
func TestConsumersDoNotDisturb(t *testing.T) { disturb(t, 8<<20, 5, 10) }

// pattern is what contents are made of.
func pattern() []byte {
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return p
}

// pourer is an origin of pattern, as long as the path says. Half way it waits for
// half, if that is not nil.
func pourer(tb testing.TB, p []byte, half func()) string {
	tb.Helper()
	return origin1(tb, func(c *net.TCPConn, path string) {
		size, _ := strconv.Atoi(path[1:])
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "+path[1:]+"\r\n\r\n")
		send := func(from, to int) {
			for from < to {
				n := min(to-from, len(p)-from%len(p))
				if _, err := c.Write(p[from%len(p):][:n]); err != nil {
					return
				}
				from += n
			}
		}
		send(0, size/2)
		if half != nil {
			half()
		}
		send(size/2, size)
	})
}

// A pouring is what one client reads by.
type pouring struct {
	rd  *bufio.Reader
	buf []byte
}

func newPouring() *pouring { return &pouring{bufio.NewReader(nil), make([]byte, 64<<10)} }

// fetch fetches size bytes, and reports how long that took.
func (p *pouring) fetch(tb testing.TB, addr string, size int, want []byte) time.Duration {
	tb.Helper()
	start := time.Now()
	rd, buf := p.rd, p.buf
	c, err := ask1(addr, "/"+strconv.Itoa(size), rd)
	if err != nil {
		tb.Error(err)
		return 0
	}
	defer c.Close()
	for at := 0; at < size; {
		n, err := rd.Read(buf)
		for got := buf[:n]; len(got) > 0; {
			from := at % len(want)
			k := min(len(got), len(want)-from)
			if !bytes.Equal(got[:k], want[from:from+k]) {
				tb.Errorf("what came is not what was sent, near byte %d", at)
				return 0
			}
			at, got = at+k, got[k:]
		}
		if err != nil {
			if at != size {
				tb.Errorf("%d bytes of %d came: %v", at, size, err)
			}
			break
		}
	}
	return time.Since(start)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// disturb compares medians of alternating runs, which may differ by that factor.
func disturb(t *testing.T, size, runs int, factor float64) {
	t.Helper()
	tees := newTee(t)
	var now atomic.Pointer[tee.Consume]
	consumer := tees.Consumer(tee.Options{Name: "bad"})
	data := pattern()
	addr := relay1(t, pourer(t, data, nil), func(r *stack.Request, resp *stack.Response) {
		if consume := now.Load(); resp != nil && consume != nil {
			if err := consumer.Response(r, resp, *consume); err != nil {
				t.Error(err)
			}
		}
	})
	client := newPouring()
	client.fetch(t, addr, size, data)
	for name, consume := range badConsumers() {
		var without, with []time.Duration
		for range runs {
			now.Store(nil)
			without = append(without, client.fetch(t, addr, size, data))
			now.Store(&consume)
			with = append(with, client.fetch(t, addr, size, data))
		}
		ratio := float64(median(with)) / float64(median(without))
		t.Logf("%-22s %v without, %v with: %.3f", name, median(without), median(with), ratio)
		if ratio > factor {
			t.Errorf("a consumer that %s makes the client wait %.2f times as long", name, ratio)
		}
	}
}

// TestStuckConsumersHoldNoMoreThanTheBudget has many responses at once, each with a
// consumer that never reads.
func TestStuckConsumersHoldNoMoreThanTheBudget(t *testing.T) {
	size := 10 << 20
	if raced {
		size = 2 << 20 // the detector makes of it what takes minutes on a busy machine
	}
	crowd(t, 200, size, 16<<20)
}

// crowd fetches n responses of that size at once, without consumers and then with,
// and compares the process's memory.
func crowd(t *testing.T, n, size, budget int) {
	t.Helper()
	c := &crowded{t: t, data: pattern(), clients: make([]*pouring, n)}
	c.tees = newTee(t, func(c *tee.Config) { c.Bytes, c.Stall = budget, 0 })
	consumer := c.tees.Consumer(tee.Options{Name: "stuck"})
	var on atomic.Bool
	var shown atomic.Int64
	c.addr = relay1(t, pourer(t, c.data, func() { c.half.Load().wait() }), func(r *stack.Request, resp *stack.Response) {
		if resp != nil && on.Load() {
			if err := consumer.Response(r, resp, stuck); err != nil {
				t.Error(err)
			}
			shown.Add(1)
		}
	})
	for i := range c.clients { // what they need is there from the beginning
		c.clients[i] = newPouring()
	}
	c.run(size / 10) // and so is what the codec keeps
	without := c.run(size / 10)
	on.Store(true)
	with := c.run(size)
	t.Logf("without: %v; with %d stuck consumers: %v", without, n, with)
	if without.heap == 0 || with.heap == 0 {
		t.Error("not all responses came half way at once")
	}
	if with.used > int64(budget) || with.used == 0 || shown.Load() != int64(n) {
		t.Errorf("%d bytes were held for %d consumers; the budget is %d", with.used, shown.Load(), budget)
	}
	if rise := with.heap - without.heap; rise > int64(budget)+slack {
		t.Errorf("the heap rose by %d bytes, and the budget is %d", rise, budget)
	}
	if rise := with.rss - without.rss; !raced && rise > int64(budget)+slack {
		t.Errorf("RSS rose by %d bytes, and the budget is %d", rise, budget)
	}
}

// slack is for what two equal runs differ by: how many buffers the codec needs at
// once hangs on how its connections fall together.
const slack = 8 << 20

// A memory is the most that was seen of the budget and of the process, and what was
// live on the heap half way.
type memory struct{ used, heap, rss int64 }

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB of the budget, heap %.1f MiB, RSS %.1f MiB", mib(m.used), mib(m.heap), mib(m.rss))
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// A crowded is many clients at once.
type crowded struct {
	t       *testing.T
	tees    *tee.Tee
	addr    string
	data    []byte
	clients []*pouring
	half    atomic.Pointer[gate]
}

// A gate is where all responses wait half way.
type gate struct {
	arrived atomic.Int64
	open    chan struct{}
}

func (g *gate) wait() {
	g.arrived.Add(1)
	<-g.open
}

// run fetches size bytes each at once, and looks on.
func (c *crowded) run(size int) memory {
	c.t.Helper()
	g := &gate{open: make(chan struct{})}
	c.half.Store(g)
	var all sync.WaitGroup
	for _, p := range c.clients {
		all.Go(func() { p.fetch(c.t, c.addr, size, c.data) })
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	var most memory
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for opened := false; ; {
		most.used = max(most.used, c.tees.Stats().BudgetUsed)
		most.rss = max(most.rss, rss())
		if !opened && (g.arrived.Load() == int64(len(c.clients)) || c.t.Failed()) {
			runtime.GC()
			runtime.GC() // what a pool keeps lives through one
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.heap = int64(m.HeapAlloc)
			opened = true
			close(g.open)
		}
		select {
		case <-over:
			return most
		case <-pace.C:
		}
	}
}

// rss is this process's resident memory, or zero where that cannot be had.
func rss() int64 {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// TestTunnelThroughTheCodec shows both directions of an upgraded connection to a
// consumer that asks for tunnels, and none to one that does not.
func TestTunnelThroughTheCodec(t *testing.T) {
	tees := newTee(t)
	asks := tees.Consumer(tee.Options{Name: "asks", Tunnels: true})
	not := tees.Consumer(tee.Options{Name: "does not"})
	there, consumeThere := keep()
	back, consumeBack := keep()
	origin := origin1(t, func(c *net.TCPConn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, c)
	})
	addr := relay1(t, origin, func(r *stack.Request, resp *stack.Response) {
		var err, refused error
		if resp == nil {
			err, refused = asks.Request(r, consumeThere), not.Request(r, stuck)
		} else {
			err, refused = asks.Response(r, resp, consumeBack), not.Response(r, resp, stuck)
		}
		if err != nil || refused == nil {
			t.Errorf("%v, %v", err, refused)
		}
	})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	rd := bufio.NewReader(c)
	for line := ""; line != "\r\n" && err == nil; {
		line, err = rd.ReadString('\n')
	}
	_, _ = io.WriteString(c, "hello")
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(rd)
	if string(got) != "hello" || err != nil {
		t.Errorf("echo: %q, %v", got, err)
	}
	<-there.done
	<-back.done
	if string(there.data) != "hello" || string(back.data) != "hello" || there.end.State != tee.Unverified || back.end.State != tee.Unverified {
		t.Errorf("%q %+v, %q %+v", there.data, there.end, back.data, back.end)
	}
	wantReason(t, tees, "does not", tee.Tunnel, 2)
}
