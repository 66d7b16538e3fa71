package l4

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A forwarded is a client joined to a server by Forward.
type forwarded struct {
	client, server *net.TCPConn
	cm, sm         stack.Meter // of the proxy's two connections
	c, s           *stack.Conn
	closed         chan error // what the proxy's connection to the client was told
	err            chan error // what the handler returned
}

// forwarding starts a client, a proxy and a server. plain has the proxy use
// connections that cannot be spliced.
func forwarding(tb testing.TB, plain bool, before ...func(*stack.Conn)) *forwarded {
	tb.Helper()
	f := &forwarded{closed: make(chan error, 1), err: make(chan error, 1)}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(loopback))
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	ready := make(chan struct{})
	dial := func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
		c, err := Dial(here, addrOf(l.Addr()))(ctx, s)
		if err == nil {
			c.Meter = &f.sm
			f.s = c
			if plain {
				c.Conn = halves{c.Conn}
			}
		}
		close(ready)
		return c, err
	}
	addr := serving(tb, func(ctx context.Context, c *stack.Conn) error {
		f.c, c.Meter = c, &f.cm
		c.OnClose = func(err error) { f.closed <- err }
		for _, b := range before {
			b(c)
		}
		err := Forward(dial)(ctx, c)
		f.err <- err
		return err
	}, ServeConfig{})
	f.client = dialed(tb, addr)
	if len(before) > 0 {
		f.client.Write([]byte("first "))
	}
	if f.server, err = l.AcceptTCP(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.server.Close() })
	if err := f.server.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	<-ready
	return f
}

// halves hides a Conn, but not that it has halves.
type halves struct{ net.Conn }

func (h halves) CloseWrite() error { return stack.CloseWrite(h.Conn) }
func (h halves) NetConn() net.Conn { return h.Conn }

// both are the two kinds of connection, by whether they are plain.
var both = map[bool]string{false: "sockets", true: "any"}

func TestForward(t *testing.T) {
	for plain, name := range both {
		t.Run(name, func(t *testing.T) {
			f := forwarding(t, plain)
			b := make([]byte, 4)
			for range 100 {
				f.client.Write([]byte("ping"))
				io.ReadFull(f.server, b)
				f.server.Write(b)
				if _, err := io.ReadFull(f.client, b); err != nil || string(b) != "ping" {
					t.Fatalf("%q, %v", b, err)
				}
			}
			f.client.CloseWrite()
			if n, err := f.server.Read(b); n != 0 || !errors.Is(err, io.EOF) {
				t.Fatalf("server read %d, %v", n, err)
			}
			f.server.Write([]byte("after"))
			f.server.Close()
			if rest, err := io.ReadAll(f.client); err != nil || string(rest) != "after" {
				t.Fatalf("client read %q, %v", rest, err)
			}
			if err := <-f.err; err != nil {
				t.Error(err)
			}
			if err := <-f.closed; err != nil {
				t.Errorf("OnClose was told %v", err)
			}
			f.checkCounts(t, 400, 405)
		})
	}
}

// checkCounts compares the meters with what the client sent and received.
func (f *forwarded) checkCounts(t *testing.T, sent, received int64) {
	t.Helper()
	got := [4]int64{f.cm.Read.Load(), f.sm.Written.Load(), f.sm.Read.Load(), f.cm.Written.Load()}
	if want := [4]int64{sent, sent, received, received}; got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
}

func TestForwardServerEndsFirst(t *testing.T) {
	for plain, name := range both {
		t.Run(name, func(t *testing.T) {
			f := forwarding(t, plain)
			f.server.Write([]byte("all"))
			f.server.CloseWrite()
			if b, err := io.ReadAll(f.client); err != nil || string(b) != "all" {
				t.Fatalf("client read %q, %v", b, err)
			}
			f.client.Write([]byte("still"))
			f.client.Close()
			if b, err := io.ReadAll(f.server); err != nil || string(b) != "still" {
				t.Fatalf("server read %q, %v", b, err)
			}
			if err := <-f.err; err != nil {
				t.Error(err)
			}
			f.checkCounts(t, 5, 3)
		})
	}
}

func TestForwardResets(t *testing.T) {
	for plain, kind := range both {
		t.Run(kind, func(t *testing.T) {
			for _, name := range []string{"client", "server"} {
				f := forwarding(t, plain)
				from, to := f.client, f.server
				if name == "server" {
					from, to = to, from
				}
				from.Write([]byte("x"))
				io.ReadFull(to, make([]byte, 1))
				from.SetLinger(0)
				from.Close()
				if _, err := to.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%s reset, the other saw %v", name, err)
				}
				if err := <-f.err; !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%s reset, Forward returned %v", name, err)
				}
				if err := <-f.closed; (err != nil) != (name == "client") {
					t.Errorf("%s reset, the client's connection was told %v", name, err)
				}
			}
		})
	}
}

// TestForwardMuch sends much both ways at once, and sees that all arrives.
func TestForwardMuch(t *testing.T) {
	for plain, name := range both {
		t.Run(name, func(t *testing.T) {
			const back = 16 << 20
			total := int64(100 << 20)
			if plain {
				total = back
			}
			f := forwarding(t, plain)
			var sums [4][32]byte
			var all sync.WaitGroup
			send := func(c *net.TCPConn, total int64, sum *[32]byte, seed byte) {
				all.Go(func() {
					h := sha256.New()
					io.Copy(io.MultiWriter(h, onlyWriter{c}), io.LimitReader(rand.NewChaCha8([32]byte{seed}), total))
					c.CloseWrite()
					*sum = [32]byte(h.Sum(nil))
				})
			}
			receive := func(c *net.TCPConn, total int64, sum *[32]byte) {
				all.Go(func() {
					h := sha256.New()
					if n, err := io.Copy(h, onlyReader{c}); n != total || err != nil {
						t.Errorf("received %d, %v", n, err)
					}
					*sum = [32]byte(h.Sum(nil))
				})
			}
			f.extend(t)
			send(f.client, total, &sums[0], 1)
			receive(f.server, total, &sums[1])
			send(f.server, back, &sums[2], 2)
			receive(f.client, back, &sums[3])
			all.Wait()
			if sums[0] != sums[1] || sums[2] != sums[3] {
				t.Error("bytes differ")
			}
			if err := <-f.err; err != nil {
				t.Error(err)
			}
			f.checkCounts(t, total, back)
		})
	}
}

// extend gives both ends longer.
func (f *forwarded) extend(t *testing.T) {
	t.Helper()
	end := time.Now().Add(6 * patience)
	if err := errors.Join(f.client.SetDeadline(end), f.server.SetDeadline(end)); err != nil {
		t.Fatal(err)
	}
}

type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// TestForwardChangesPace goes from messages to bulk and back, several times, so
// that copying and splicing take turns.
func TestForwardChangesPace(t *testing.T) {
	for plain, name := range both {
		t.Run(name, func(t *testing.T) {
			f := forwarding(t, plain)
			go func() { io.Copy(onlyWriter{f.server}, onlyReader{f.server}); f.server.CloseWrite() }()
			rnd := rand.NewChaCha8([32]byte{3})
			total := int64(0)
			for round := range 60 {
				n := 100
				if round/10%2 == 1 {
					n = 1 << 20
				}
				b, got := make([]byte, n), make([]byte, n)
				rnd.Read(b)
				total += int64(n)
				go f.client.Write(b)
				if _, err := io.ReadFull(f.client, got); err != nil || sha256.Sum256(got) != sha256.Sum256(b) {
					t.Fatalf("round %d: %v, or bytes differ", round, err)
				}
			}
			f.client.CloseWrite()
			if err := <-f.err; err != nil {
				t.Error(err)
			}
			f.checkCounts(t, total, total)
		})
	}
}

// TestForwardSlowReader sees that what a reader does not take, the writer keeps.
func TestForwardSlowReader(t *testing.T) {
	for plain, name := range both {
		t.Run(name, func(t *testing.T) {
			f := forwarding(t, plain)
			f.client.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			sent := 0
			for {
				n, err := f.client.Write(make([]byte, 1<<20))
				if sent += n; err != nil {
					break
				}
			}
			in, out := f.cm.Read.Load(), f.sm.Written.Load()
			if in == 0 || in-out > pipeSize {
				t.Errorf("the proxy holds %d of %d bytes", in-out, in)
			}
			f.client.CloseWrite()
			if n, err := io.Copy(io.Discard, onlyReader{f.server}); n != int64(sent) || err != nil {
				t.Errorf("received %d of %d bytes, %v", n, sent, err)
			}
			f.server.Close()
			<-f.err
			f.checkCounts(t, int64(sent), 0)
		})
	}
}

func TestForwardPeeked(t *testing.T) {
	for plain, name := range both {
		t.Run(name, func(t *testing.T) {
			f := forwarding(t, plain, func(c *stack.Conn) {
				if _, err := c.Peek(6); err != nil {
					t.Error(err)
				}
			})
			f.client.Write([]byte("second"))
			f.client.CloseWrite()
			f.server.CloseWrite()
			if b, err := io.ReadAll(f.server); err != nil || string(b) != "first second" {
				t.Errorf("%q, %v", b, err)
			}
			<-f.err
			f.checkCounts(t, 12, 0)
		})
	}
}

// TestForwardCut closes the proxy's connections from outside, while idle and while
// a direction waits for a reader that does not read.
func TestForwardCut(t *testing.T) {
	for plain, kind := range both {
		t.Run(kind, func(t *testing.T) {
			for _, stuck := range []bool{false, true} {
				for _, name := range []string{"client", "server"} {
					f := forwarding(t, plain)
					if stuck {
						f.client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
						for err := error(nil); err == nil; {
							_, err = f.client.Write(make([]byte, 1<<20))
						}
					} else {
						f.client.Write([]byte("x"))
						io.ReadFull(f.server, make([]byte, 1))
					}
					if name == "client" {
						f.c.Close()
					} else {
						f.s.Close()
					}
					select {
					case err := <-f.err:
						if !errors.Is(err, net.ErrClosed) {
							t.Errorf("stuck %v, %s closed: %v", stuck, name, err)
						}
					case <-time.After(patience):
						t.Fatalf("stuck %v, %s closed: Forward goes on", stuck, name)
					}
					if _, err := io.Copy(io.Discard, f.client); err == nil && name == "server" {
						t.Error("the client saw an orderly end")
					}
					if _, err := io.Copy(io.Discard, f.server); err == nil && name == "client" {
						t.Error("the server saw an orderly end")
					}
				}
			}
		})
	}
}

func TestForwardDialFails(t *testing.T) {
	why := errors.New("because")
	told := make(chan error, 1)
	addr := serving(t, func(ctx context.Context, c *stack.Conn) error {
		c.OnClose = func(err error) { told <- err }
		c.Peek(1) // or else the reset may overtake the connect
		return Forward(func(context.Context, stack.Session) (*stack.Conn, error) { return nil, why })(ctx, c)
	}, ServeConfig{})
	c := dialed(t, addr)
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	if err := <-told; !errors.Is(err, why) {
		t.Errorf("OnClose was told %v", err)
	}
}

// TestForwardContext sees that a drain stops neither the dial nor the copying, and
// that closing the client's connection stops the dial.
func TestForwardContext(t *testing.T) {
	a, c := rawPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dialing, done := make(chan struct{}), make(chan error)
	sc := &stack.Conn{Conn: c}
	go func() {
		done <- Forward(func(ctx context.Context, _ stack.Session) (*stack.Conn, error) {
			if ctx.Err() != nil {
				return nil, errors.New("the drain stopped the dial")
			}
			close(dialing)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})(ctx, sc)
	}()
	<-dialing
	sc.Close()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := a.Read(make([]byte, 1)); err == nil {
		t.Error("the client goes on")
	}
}

func TestForwardLeaksNoDescriptors(t *testing.T) {
	round := func() {
		f := forwarding(t, false)
		go func() { io.Copy(onlyWriter{f.server}, onlyReader{f.server}); f.server.Close() }()
		go func() { f.client.Write(make([]byte, 8<<20)); f.client.CloseWrite() }()
		if n, err := io.Copy(io.Discard, onlyReader{f.client}); n != 8<<20 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		f.client.Close()
		<-f.err
	}
	settled := func() int {
		runtime.GC() // empties the pools of pipes, in two steps
		runtime.GC()
		runtime.GC()
		return openFDs(t)
	}
	round()
	before := settled()
	for range 8 {
		round()
	}
	// 8 listeners are open until the test ends.
	eventually(t, "descriptors closed", func() bool { return settled() <= before+8 })
}

// TestForwardSplices sees that a direction is spliced while it is bulky, and only
// then, and that it holds nothing while it waits.
func TestForwardSplices(t *testing.T) {
	client, c := rawPair(t)
	server, s := rawPair(t)
	f := newFlow(newRelay(), &stack.Conn{Conn: s}, &stack.Conn{Conn: c}, s, c)
	done := make(chan error)
	go func() { done <- f.run() }()
	move := func(n int) {
		go client.Write(make([]byte, n))
		if _, err := io.CopyN(io.Discard, onlyReader{server}, int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	look := func() bool {
		// All is through, so that the flow waits, or soon will.
		f.in.SetReadDeadline(time.Now().Add(-1))
		if err := <-done; err == nil {
			t.Fatal("no error of a read that was stopped")
		}
		if f.pipe != nil || f.buffer != nil {
			t.Fatalf("pipe %v, buffer %v", f.pipe, f.buffer)
		}
		splicing := f.splicing
		f.in.SetReadDeadline(time.Time{})
		f.rerr = nil
		go func() { done <- f.run() }()
		return splicing
	}
	// On a busy machine what is sent may come in pieces, or together: a direction is
	// given some tries to change.
	until := func(want bool, n int) {
		for range 20 {
			for range 2 * bulky {
				move(n)
			}
			if look() == want {
				return
			}
		}
		t.Fatalf("splicing %v, after contents of %d bytes", !want, n)
	}
	until(false, 100)
	until(true, 4<<20)
	until(false, 100)
	client.CloseWrite()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestForwardCannotSplice(t *testing.T) {
	_, c := rawPair(t)
	_, s := rawPair(t)
	f := newFlow(newRelay(), &stack.Conn{Conn: s}, &stack.Conn{Conn: c}, s, c)
	f.splicing = true
	f.copyInstead()
	f.streak = 2 * bulky
	f.grow()
	if f.splicing || len(*f.relay.buffer(f.size)) != largeBuffer {
		t.Errorf("splicing %v, buffer %d", f.splicing, f.size)
	}
}

func BenchmarkForward(b *testing.B) {
	for name, size := range map[string]int{"128B": 128, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			f := forwarding(b, false)
			f.client.SetDeadline(time.Time{})
			f.server.SetDeadline(time.Time{})
			go io.Copy(onlyWriter{f.server}, onlyReader{f.server})
			msg := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				go f.client.Write(msg)
				io.ReadFull(f.client, msg)
			}
		})
	}
}
