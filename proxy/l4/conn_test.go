package l4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestConnIsANetConn(t *testing.T) {
	peer, c := rawPair(t)
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v", n, err)
	}
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("Write(nil) = %d, %v", n, err)
	}
	peer.Write([]byte("ping"))
	b := make([]byte, 3)
	for _, want := range []string{"pin", "g"} {
		if n, err := c.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("Read = %q, %v; want %q", b[:n], err, want)
		}
	}
	if n, err := c.Write([]byte("pong")); n != 4 || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	peer.CloseWrite()
	for range 2 {
		if n, err := c.Read(b); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("Read = %d, %v; want EOF", n, err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(peer); err != nil || string(got) != "pong" {
		t.Fatalf("peer read %q, %v", got, err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after CloseWrite: %v", err)
	}
}

func TestConnErrors(t *testing.T) {
	t.Run("deadlines", func(t *testing.T) {
		_, c := rawPair(t)
		c.SetDeadline(time.Now().Add(-time.Second))
		_, rerr := c.Read(make([]byte, 1))
		_, werr := c.Write([]byte("x"))
		_, _, lerr := c.ReadLate(func() []byte { return make([]byte, 1) }, func([]byte) {})
		_, werr2 := writeRead(c, []byte("x"), make([]byte, 1))
		for _, err := range []error{rerr, werr, lerr, werr2} {
			var timeout net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("after the deadline: %v", err)
			}
		}
		if !errors.Is(werr2, ErrNothingSent) {
			t.Errorf("WriteRead after the deadline: %v", werr2)
		}
		c.SetDeadline(time.Time{})
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("with the deadline taken back: %v", err)
		}
	})
	t.Run("deadline while waiting", func(t *testing.T) {
		_, c := rawPair(t)
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		much := make([]byte, 64<<20)
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Write(much)
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
			t.Errorf("Write = %d, %v", n, err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		peer, c := rawPair(t)
		peer.SetLinger(0)
		peer.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		_, c := rawPair(t)
		c.Close()
		_, rerr := c.Read(make([]byte, 1))
		_, werr := c.Write([]byte("x"))
		for _, err := range []error{rerr, werr, c.Close()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
	})
}

// TestConnCloseWakes closes a connection under goroutines that read and write.
func TestConnCloseWakes(t *testing.T) {
	for range 50 {
		_, c := rawPair(t)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read: %v", err)
				}
			})
			all.Go(func() {
				var err error
				for err == nil {
					_, err = c.Write(make([]byte, 1<<20))
				}
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write: %v", err)
				}
			})
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	}
}

// TestConnCarriesAll sends much, both ways at once, in pieces of all sizes.
func TestConnCarriesAll(t *testing.T) {
	const total = 8 << 20
	peer, c := rawPair(t)
	small(t, peer)
	small(t, c)
	send := func(w io.Writer, seed uint64) [32]byte {
		rnd, sum := rand.New(rand.NewPCG(seed, 0)), sha256.New()
		for left := total; left > 0; {
			b := make([]byte, min(left, 1+rnd.IntN(200_000)))
			b[0], b[len(b)-1] = byte(left), byte(left>>8)
			if n, err := w.Write(b); n != len(b) || err != nil {
				t.Errorf("Write = %d of %d, %v", n, len(b), err)
				break
			}
			sum.Write(b)
			left -= len(b)
		}
		return [32]byte(sum.Sum(nil))
	}
	receive := func(r io.Reader) [32]byte {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.LimitReader(struct{ io.Reader }{r}, total)); err != nil {
			t.Error(err)
		}
		return [32]byte(sum.Sum(nil))
	}
	var all sync.WaitGroup
	var sums [4][32]byte
	all.Go(func() { sums[0] = send(c, 1) })
	all.Go(func() { sums[1] = receive(peer) })
	all.Go(func() { sums[2] = send(peer, 2) })
	all.Go(func() { sums[3] = receive(c) })
	all.Wait()
	if sums[0] != sums[1] || sums[2] != sums[3] {
		t.Error("bytes differ")
	}
}

// small makes what c may have unsent small, so that writes are partial.
func small(t *testing.T, c interface{ SetWriteBuffer(n int) error }) {
	t.Helper()
	if err := c.SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
}

func TestConnReadLate(t *testing.T) {
	peer, c := rawPair(t)
	held, most := 0, 0
	get := func() []byte { held++; most = max(most, held); return make([]byte, 8) }
	put := func([]byte) { held-- }
	type result struct {
		b   []byte
		n   int
		err error
	}
	got := make(chan result)
	late := func() { b, n, err := c.ReadLate(get, put); got <- result{b, n, err} }
	go late()
	waitParked(t, c)
	peer.Write([]byte("hello"))
	if r := <-got; r.err != nil || string(r.b[:r.n]) != "hello" || held != 1 || most != 1 {
		t.Fatalf("ReadLate = %+v, held %d, at most %d", r, held, most)
	}
	held = 0
	go late()
	waitParked(t, c)
	peer.CloseWrite()
	if r := <-got; !errors.Is(r.err, io.EOF) || r.b != nil || held != 0 {
		t.Fatalf("ReadLate at the end = %+v, held %d", r, held)
	}
}

// waitParked waits until c's reader waits, as seen by its lock being held and the
// scheduler having had its turn.
func waitParked(t *testing.T, c *Conn) {
	t.Helper()
	eventually(t, "a reader", func() bool {
		if c.in.mu.TryLock() {
			c.in.mu.Unlock()
			return false
		}
		return true
	})
}

// writeRead is c.WriteRead into r.
func writeRead(c *Conn, w, r []byte) (int, error) {
	_, n, err := c.WriteRead(w, func() {}, func() []byte { return r }, func([]byte) {})
	return n, err
}

func TestConnWriteRead(t *testing.T) {
	r := make([]byte, 16)
	t.Run("answered", func(t *testing.T) {
		peer, c := rawPair(t)
		go func() {
			b := make([]byte, 8)
			for range 3 {
				n, _ := peer.Read(b)
				peer.Write(bytes.ToUpper(b[:n]))
			}
		}()
		for range 3 {
			if n, err := writeRead(c, []byte("ping"), r); err != nil || string(r[:n]) != "PING" {
				t.Fatalf("WriteRead = %q, %v", r[:n], err)
			}
			if !c.out.mu.TryLock() || !c.in.mu.TryLock() {
				t.Fatal("a half is still taken")
			}
			c.out.mu.Unlock()
			c.in.mu.Unlock()
		}
	})
	t.Run("more than fits", func(t *testing.T) {
		peer, c := rawPair(t)
		w := make([]byte, 16<<20)
		go func() {
			io.CopyN(io.Discard, peer, int64(len(w)))
			peer.Write([]byte("done"))
		}()
		if n, err := writeRead(c, w, r); err != nil || string(r[:n]) != "done" {
			t.Fatalf("WriteRead = %q, %v", r[:n], err)
		}
	})
	t.Run("answered with an end", func(t *testing.T) {
		peer, c := rawPair(t)
		go func() {
			io.ReadFull(peer, make([]byte, 4))
			peer.Close()
		}()
		if n, err := writeRead(c, []byte("ping"), r); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("WriteRead = %d, %v", n, err)
		}
	})
	t.Run("others may write while it waits", func(t *testing.T) {
		peer, c := rawPair(t)
		got := make(chan error)
		go func() { _, err := writeRead(c, []byte("a"), r); got <- err }()
		b := make([]byte, 2)
		io.ReadFull(peer, b[:1])
		if _, err := c.Write([]byte("b")); err != nil {
			t.Fatal(err)
		}
		io.ReadFull(peer, b[1:])
		peer.Write([]byte("c"))
		if err := <-got; err != nil || string(b) != "ab" {
			t.Fatalf("%q, %v", b, err)
		}
	})
	stale := map[string]func(*net.TCPConn){
		"closed":      func(p *net.TCPConn) { p.Close() },
		"half closed": func(p *net.TCPConn) { p.CloseWrite() },
		"reset":       func(p *net.TCPConn) { p.SetLinger(0); p.Close() },
		"unsolicited": func(p *net.TCPConn) { p.Write([]byte("x")) },
	}
	for name, spoil := range stale {
		t.Run(name, func(t *testing.T) {
			peer, c := rawPair(t)
			if c.PeerClosed() {
				t.Fatal("PeerClosed while open")
			}
			spoil(peer)
			eventually(t, "PeerClosed", c.PeerClosed)
			if _, err := writeRead(c, []byte("ping"), r); !errors.Is(err, ErrNothingSent) {
				t.Errorf("WriteRead: %v", err)
			}
			if !c.out.mu.TryLock() {
				t.Error("the writing half is still taken")
			}
		})
	}
	t.Run("closed here", func(t *testing.T) {
		_, c := rawPair(t)
		c.Close()
		if _, err := writeRead(c, []byte("ping"), r); !errors.Is(err, ErrNothingSent) || !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if !c.PeerClosed() {
			t.Error("PeerClosed is false of a closed connection")
		}
	})
}

// TestConnSeesEndWithData is for what an edge-triggered poller loses if it is
// asked wrongly: an end that comes together with data, or with urgent data.
func TestConnSeesEndWithData(t *testing.T) {
	for range 200 {
		peer, c := rawPair(t)
		got := make(chan error)
		go func() { _, err := io.Copy(io.Discard, struct{ io.Reader }{c}); got <- err }()
		peer.Write([]byte("last words"))
		peer.CloseWrite()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	peer, c := rawPair(t)
	raw, _ := peer.SyscallConn()
	raw.Control(func(fd uintptr) {
		unix.Send(int(fd), []byte("before"), 0)
		unix.Send(int(fd), []byte("!"), unix.MSG_OOB)
		unix.Send(int(fd), []byte("after"), 0)
	})
	peer.CloseWrite()
	if b, err := io.ReadAll(struct{ io.Reader }{c}); err != nil || string(b) != "beforeafter" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestConnAfterClose(t *testing.T) {
	_, c := rawPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.afterClose(cancel)
	c.afterClose(nil)
	calls := 0
	c.afterClose(func() { calls++ })
	c.Close()
	c.Close()
	if calls != 1 || ctx.Err() != nil {
		t.Errorf("called %d times, and what was taken back: %v", calls, ctx.Err())
	}
	c.afterClose(func() { calls++ })
	if calls != 2 {
		t.Error("not called at once for a closed connection")
	}
	cancel()
}

// echo answers each message of n bytes, until the end.
func echo(peer net.Conn, n int) {
	b := make([]byte, n)
	for {
		if _, err := io.ReadFull(peer, b); err != nil {
			return
		}
		peer.Write(b)
	}
}

func TestConnAllocatesNothing(t *testing.T) {
	peer, c := rawPair(t)
	raw, err := NewConn(peer)
	if err != nil {
		t.Fatal(err)
	}
	go echo(raw, 128)
	b := make([]byte, 128)
	get, put := func() []byte { return b }, func([]byte) {}
	for name, f := range map[string]func(){
		"Write and Read": func() { c.Write(b); c.Read(b) },
		"ReadLate":       func() { c.Write(b); c.ReadLate(get, put) },
		"WriteRead":      func() { c.WriteRead(b, func() {}, get, put) },
		"PeerClosed":     func() { c.PeerClosed() },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkConn(b *testing.B) {
	msg := make([]byte, 128)
	for name, wrap := range map[string]func(*net.TCPConn, *Conn) func(){
		"net.TCPConn": func(_ *net.TCPConn, c *Conn) func() { return func() { c.TCPConn.Write(msg); c.TCPConn.Read(msg) } },
		"Conn":        func(_ *net.TCPConn, c *Conn) func() { return func() { c.Write(msg); c.Read(msg) } },
		"WriteRead": func(_ *net.TCPConn, c *Conn) func() {
			return func() { c.WriteRead(msg, func() {}, func() []byte { return msg }, func([]byte) {}) }
		},
	} {
		b.Run(name, func(b *testing.B) {
			peer, c := rawPair(b)
			go echo(peer, len(msg))
			f := wrap(peer, c)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
