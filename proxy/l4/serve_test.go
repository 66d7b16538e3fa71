package l4

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func TestServe(t *testing.T) {
	clients := make(chan string, 1)
	addr := serving(t, func(_ context.Context, c *stack.Conn) error {
		defer c.Close()
		clients <- c.Client.String()
		_, err := io.Copy(c, c)
		return err
	}, ServeConfig{})
	c := dialed(t, addr)
	c.Write([]byte("hi"))
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "hi" {
		t.Errorf("%q, %v", b, err)
	}
	if got := <-clients; got != c.LocalAddr().String() {
		t.Errorf("client %s, want %s", got, c.LocalAddr())
	}
}

func TestServePanic(t *testing.T) {
	var log bytes.Buffer
	var panics atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() {
		served <- Serve(ctx, l, func(_ context.Context, c *stack.Conn) error {
			defer c.Close()
			b := make([]byte, 1)
			if c.Read(b); b[0] == '!' {
				panic("evil\nline")
			}
			_, err := c.Write(b)
			return err
		}, ServeConfig{Guard: &guard.Guard{Log: slog.New(slog.NewTextHandler(&log, nil)), Count: func(string) { panics.Add(1) }}})
	}()
	for range 3 {
		bad, good := dialed(t, addrOf(l.Addr())), dialed(t, addrOf(l.Addr()))
		bad.Write([]byte("!"))
		good.Write([]byte("a"))
		if n, err := bad.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("Read after a panic = %d, %v", n, err)
		}
		if b, err := io.ReadAll(good); err != nil || string(b) != "a" {
			t.Errorf("another connection: %q, %v", b, err)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if panics.Load() != 3 || strings.Count(log.String(), "panic=") != 3 || !strings.Contains(log.String(), "TestServePanic") || strings.Contains(log.String(), "evil\n") {
		t.Errorf("%d panics, log:\n%s", panics.Load(), log.String())
	}
}

// evilListener panics for as long as it is told to.
type evilListener struct {
	net.Listener
	evil *atomic.Bool
}

func (l evilListener) Accept() (net.Conn, error) {
	if l.evil.Load() {
		panic("evil")
	}
	return l.Listener.Accept()
}

// TestAcceptPanics: whoever watches the process is told of a listener that cannot be
// had to accept, and not any more once it can.
func TestAcceptPanics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var evil atomic.Bool
	evil.Store(true)
	told := make(chan struct{}, 100)
	g := &guard.Guard{Log: slog.New(slog.DiscardHandler), Count: func(string) { told <- struct{}{} }}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() {
		served <- Serve(ctx, evilListener{l, &evil}, func(_ context.Context, c *stack.Conn) error { return c.Close() }, ServeConfig{Guard: g})
	}()
	for n := range maxPanics {
		if ok, _ := g.Live(); !ok {
			t.Errorf("not live after %d panics", n)
		}
		<-told
	}
	for ok := true; ok; { // it is said right after it is counted
		ok, _ = g.Live()
	}
	if _, why := g.Live(); !strings.Contains(why, l.Addr().String()) || !strings.Contains(why, "evil") {
		t.Errorf("not live, since %q", why)
	}
	evil.Store(false)
	c := dialed(t, addrOf(l.Addr()))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("a connection after that: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // it is said right after the connection is given on
		ok, why := g.Live()
		if ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not live, though it accepts: %s", why)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeDrains(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	served, drained := make(chan error, 1), make(chan struct{})
	told := sync.OnceFunc(func() { close(drained) })
	go func() {
		served <- Serve(ctx, l, func(ctx context.Context, c *stack.Conn) error {
			defer c.Close()
			c.Write([]byte("a"))
			<-ctx.Done()
			told()
			_, err := io.Copy(io.Discard, c)
			return err
		}, ServeConfig{})
	}()
	c := dialed(t, addrOf(l.Addr()))
	c.Read(make([]byte, 1))
	cancel()
	<-drained
	eventually(t, "the listener closed", func() bool {
		late, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			late.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case err := <-served:
		t.Fatalf("Serve returned %v before its handler", err)
	default:
	}
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeCut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	served, cut := make(chan error, 1), make(chan struct{})
	go func() {
		served <- Serve(ctx, l, func(_ context.Context, c *stack.Conn) error {
			defer c.Close()
			c.Write([]byte("a"))
			_, err := io.Copy(io.Discard, c)
			return err
		}, ServeConfig{Cut: cut})
	}()
	c := dialed(t, addrOf(l.Addr()))
	c.Read(make([]byte, 1))
	close(cut)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after Cut: %v", err)
	}
	late, err := net.Dial("tcp", l.Addr().String())
	if err == nil { // or else the reset has overtaken the connect
		_, err = io.Copy(io.Discard, late)
		late.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("accepted after Cut: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeListenerClosed(t *testing.T) {
	l, err := Listen(t.Context(), loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), l, nil, ServeConfig{}); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// failing is a listener that fails each time with the next error, gives a
// connection where that is nil, and then waits until it is closed.
type failing struct {
	net.Listener
	errs   []error
	at     []time.Time
	closed chan struct{}
	once   sync.Once
}

func (f *failing) Addr() net.Addr { return &net.TCPAddr{} }
func (f *failing) Close() error   { f.once.Do(func() { close(f.closed) }); return nil }
func (f *failing) Accept() (net.Conn, error) {
	f.at = append(f.at, time.Now())
	if len(f.errs) == 0 {
		<-f.closed
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	if err != nil {
		return nil, err
	}
	a, b := net.Pipe()
	return b, a.Close()
}

func TestServeBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		emfile := error(syscall.EMFILE)
		l := &failing{closed: make(chan struct{})}
		for range 10 {
			l.errs = append(l.errs, emfile)
		}
		l.errs = append(l.errs, nil, emfile, emfile, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Minute); cancel() }()
		err := Serve(ctx, l, func(_ context.Context, c *stack.Conn) error { return c.Close() },
			ServeConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Error(err)
		}
		want := []int64{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 0, 5, 10, 0}
		for i, ms := range want {
			if got := l.at[i+1].Sub(l.at[i]).Milliseconds(); got != ms {
				t.Errorf("pause %d: %d ms, want %d", i, got, ms)
			}
		}
		if n := strings.Count(log.String(), "cannot accept"); n != 2 {
			t.Errorf("logged %d times, want once for each episode:\n%s", n, log.String())
		}
	})
}
