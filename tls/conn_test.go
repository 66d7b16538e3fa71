package tls

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// random returns n bytes that are the same each time.
func random(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func ours(tb testing.TB) (c, s *Conn) {
	tb.Helper()
	store := newAuthority(tb, "good", nil).store(tb, webID)
	return pair(tb, store, store)
}

// TestTransfer sends writes of many sizes, both ways at once, and reads them by
// buffers of many sizes.
func TestTransfer(t *testing.T) {
	a, b := ours(t)
	want := random(3 << 20)
	var all sync.WaitGroup
	for _, c := range []*Conn{a, b} {
		all.Go(func() {
			for rest, n := want, 1; len(rest) > 0; n = (n*3 + 1) % (1 << 20) {
				size := min(len(rest), n%(300<<10)+1)
				if m, err := c.Write(rest[:size]); m != size || err != nil {
					t.Errorf("Write: %d of %d, %v", m, size, err)
					return
				}
				rest = rest[size:]
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			var got bytes.Buffer
			for n := 1; ; n = (n*5 + 1) % (1 << 20) {
				p := make([]byte, n%(100<<10)+1)
				m, err := c.Read(p)
				got.Write(p[:m])
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Errorf("Read: %v", err)
					}
					break
				}
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d bytes came, not the %d that were sent", got.Len(), len(want))
			}
			if c.wire.out != nil {
				t.Error("a buffer is kept")
			}
		})
	}
	all.Wait()
	for _, c := range []*Conn{a, b} {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second Close: %v", err)
		}
	}
}

// TestHalfClose answers after the end.
func TestHalfClose(t *testing.T) {
	c, s := ours(t)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("Read: %d, %v", n, err)
	}
	if _, err := s.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, err := c.Read(p); string(p[:n]) != "late" || err != nil {
		t.Errorf("Read: %q, %v", p[:n], err)
	}
}

// TestTruncated closes the connection below, as anybody on the way can.
func TestTruncated(t *testing.T) {
	for name, cut := range map[string]func(c *Conn) error{
		"between records": func(c *Conn) error { return c.NetConn().Close() },
		"in a record": func(c *Conn) error {
			_, err := c.NetConn().Write([]byte{23, 3, 3, 0, 100, 1, 2})
			return errors.Join(err, c.NetConn().Close())
		},
	} {
		c, s := ours(t)
		if _, err := c.Write([]byte("part")); err != nil {
			t.Fatal(err)
		}
		if err := cut(c); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		if string(got) != "part" || !errors.Is(err, ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrTruncated) {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}

func TestWaitReadable(t *testing.T) {
	c, s := ours(t)
	done := make(chan error, 1)
	go func() { done <- s.WaitReadable() }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !s.PeerClosed() {
		t.Error("what was sent does not count")
	}
	if err := s.WaitReadable(); err != nil {
		t.Error(err)
	}
	p := make([]byte, 3)
	if n, err := s.Read(p); string(p[:n]) != "hel" || err != nil {
		t.Errorf("Read: %q, %v", p[:n], err)
	}
	p = make([]byte, 10)
	got, n, err := s.ReadLate(func() []byte { return p }, nil)
	if err != nil || string(got[:n]) != "lo" || &got[0] != &p[0] {
		t.Errorf("ReadLate: %q, %v", got[:n], err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitReadable(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, _, err := s.ReadLate(func() []byte { t.Error("a buffer was taken"); return p }, nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// TestReadDeadline goes on after it.
func TestReadDeadline(t *testing.T) {
	c, s := ours(t)
	for range 3 {
		s.SetReadDeadline(time.Now().Add(-1))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read: %v", err)
		}
		if err := s.WaitReadable(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("WaitReadable: %v", err)
		}
		s.SetReadDeadline(time.Time{})
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatalf("Read: %d, %v", n, err)
		}
	}
}

// probe is a connection that can tell that its peer has closed it.
type probe struct {
	net.Conn
	closed bool
}

func (p *probe) PeerClosed() bool { return p.closed }

func TestPeerClosed(t *testing.T) {
	c, s := ours(t)
	below := &probe{Conn: s.wire.Conn}
	s.wire.Conn = below
	for range 2 {
		if s.PeerClosed() {
			t.Fatal("closed by nobody")
		}
	}
	below.closed = true
	if !s.PeerClosed() {
		t.Error("the connection below is closed")
	}
	below.closed = false
	// What crypto/tls has read already, nobody below knows of.
	if _, err := c.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 99)); n != 99 || err != nil {
		t.Fatal(n, err)
	}
	if !s.PeerClosed() {
		t.Error("a byte is left")
	}
	if n, err := s.Read(make([]byte, 99)); n != 1 || err != nil {
		t.Errorf("the byte that was left: %d, %v", n, err)
	}
	if s.PeerClosed() {
		t.Error("closed by nobody")
	}
}

// stall is a connection that takes no more, and counts what it took.
type stall struct {
	net.Conn
	calls int
	left  int // until it stalls
}

func (s *stall) Write(p []byte) (int, error) {
	s.calls++
	if s.left -= len(p); s.left < 0 {
		return s.Conn.Write(make([]byte, 64<<20)) // no peer reads that
	}
	return s.Conn.Write(p)
}

// TestCloseDoesNotWait closes a connection whose peer reads nothing.
func TestCloseDoesNotWait(t *testing.T) {
	for name, writing := range map[string]bool{"while writing": true, "full": false} {
		c, _ := ours(t)
		c.wire.Conn = &stall{Conn: c.wire.Conn}
		var done sync.WaitGroup
		if writing {
			began := make(chan struct{})
			done.Go(func() {
				close(began)
				if _, err := c.Write(make([]byte, 100<<10)); err == nil {
					t.Error("it was written")
				}
			})
			<-began
		}
		start := time.Now()
		c.Close()
		done.Wait()
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("%s: Close took %v", name, took)
		}
	}
}

// TestWritesTogether counts what a write costs.
func TestWritesTogether(t *testing.T) {
	c, s := ours(t)
	go io.Copy(io.Discard, s)
	below := &stall{Conn: c.wire.Conn, left: 1 << 30}
	c.wire.Conn = below
	for size, want := range map[int]int{1: 1, maxRecord: 1, maxRecord + 1: 1, 4 * maxRecord: 1, 5 * maxRecord: 2, 1 << 20: 16} {
		below.calls = 0
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if below.calls != want {
			t.Errorf("%d bytes: %d writes, want %d", size, below.calls, want)
		}
	}
	c.Close()
}

// TestWriteFails has no part of a record followed by anything.
func TestWriteFails(t *testing.T) {
	c, _ := ours(t)
	c.SetWriteDeadline(time.Now().Add(-1))
	if n, err := c.Write(make([]byte, 100<<10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
	c.SetWriteDeadline(time.Time{})
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("the next write succeeded")
	}
}

// scarce is a connection that takes only so much without waiting.
type scarce struct {
	net.Conn
	room int
}

func (s *scarce) TryWrite(p []byte) (int, error) {
	n := min(len(p), s.room)
	s.room -= n
	return s.Write(p[:n])
}

// TestTryWrite writes without waiting until nothing more is taken. What is held then
// comes with the next write, in order.
func TestTryWrite(t *testing.T) {
	for _, room := range []int{0, 1, 100, 16 << 10, 200_000, 1 << 20} {
		c, s := ours(t)
		below := &scarce{Conn: c.wire.Conn, room: room}
		c.wire.Conn = below
		data := random(1 << 20)
		sent := 0
		var read sync.WaitGroup
		read.Go(func() {
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, data) {
				t.Errorf("room for %d: %d bytes came, %v", room, len(got), err)
			}
		})
		for !c.Holding() && sent < len(data) {
			n, err := c.TryWrite(data[sent:min(len(data), sent+150_000)])
			if err != nil || n == 0 {
				t.Fatalf("room for %d: %d taken, %v", room, n, err)
			}
			sent += n
		}
		if c.Holding() {
			if n, err := c.TryWrite(data[sent:]); n != 0 || err != nil {
				t.Errorf("room for %d: %d taken, %v, though something is held", room, n, err)
			}
		} else if room < len(data) {
			t.Errorf("room for %d: all was taken", room)
		}
		for _, p := range [][]byte{nil, data[sent:]} {
			if _, err := c.Write(p); err != nil || c.Holding() {
				t.Errorf("room for %d: %v, holding %v", room, err, c.Holding())
			}
		}
		_ = c.CloseWrite()
		read.Wait()
	}
}
