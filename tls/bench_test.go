package tls

import (
	gotls "crypto/tls"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// theirs is what crypto/tls does by itself, for comparison.
func theirs(b *testing.B) (c, s net.Conn) {
	b.Helper()
	store := newAuthority(b, "good", nil).store(b, webID)
	cred := store.current.Load()
	x, y := tcp(b)
	server := gotls.Server(y, cred.server(ServerParams{}))
	client := gotls.Client(x, cred.client(ClientParams{Server: webID, SNI: webID}))
	done := make(chan error, 1)
	go func() { done <- server.HandshakeContext(b.Context()) }()
	if err := client.HandshakeContext(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return client, server
}

func each(b *testing.B, f func(b *testing.B, c, s net.Conn)) {
	b.Helper()
	run := func(name string, open func(*testing.B) (c, s net.Conn)) {
		b.Run(name, func(b *testing.B) {
			c, s := open(b)
			began := cpu()
			f(b, c, s)
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
		})
	}
	run("ours", func(b *testing.B) (net.Conn, net.Conn) { b.Helper(); c, s := ours(b); return c, s })
	run("crypto-tls", theirs)
	run("clear", func(b *testing.B) (c, s net.Conn) { b.Helper(); return tcp(b) })
}

// cpu is the processor time that this process has used, which a busy machine
// changes less than the time that passes.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkHandshake(b *testing.B) {
	store := newAuthority(b, "good", nil).store(b, webID)
	b.ReportAllocs()
	for b.Loop() {
		x, y := tcp(b)
		done := make(chan error, 1)
		go func() { _, err := store.Server(b.Context(), y, ServerParams{}); done <- err }()
		if _, err := store.Client(b.Context(), x, ClientParams{Server: webID, SNI: webID}); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		x.Close()
		y.Close()
	}
}

func BenchmarkEcho128(b *testing.B) {
	each(b, func(b *testing.B, c, s net.Conn) {
		b.Helper()
		go func() {
			p := make([]byte, 4096)
			for {
				n, err := s.Read(p)
				if err != nil {
					return
				}
				_, _ = s.Write(p[:n])
			}
		}()
		p := make([]byte, 128)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(p); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, p); err != nil {
				b.Fatal(err)
			}
		}
		c.Close()
	})
}

func BenchmarkBulk(b *testing.B) {
	each(b, func(b *testing.B, c, s net.Conn) {
		b.Helper()
		done := make(chan struct{})
		go func() {
			defer close(done)
			p := make([]byte, 64<<10)
			for {
				if _, err := s.Read(p); err != nil {
					return
				}
			}
		}()
		p := make([]byte, 64<<10)
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(p); err != nil {
				b.Fatal(err)
			}
		}
		c.Close()
		<-done
	})
}

// BenchmarkIdle tells what an open connection holds, its client's half included,
// once something has passed on it.
func BenchmarkIdle(b *testing.B) {
	store := newAuthority(b, "good", nil).store(b, webID)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		const n = 100
		keep := make([]*Conn, 0, 2*n)
		for range n {
			c, s := pair(b, store, store)
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(s, make([]byte, 1000)); err != nil {
				b.Fatal(err)
			}
			keep = append(keep, c, s)
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(keep)), "B/end")
		for _, c := range keep {
			c.Close()
		}
	}
}
