package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// pipe returns the two ends of a connection in memory.
func pipe(t *testing.T) (near *stack.Conn, far net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return &stack.Conn{Conn: a}, b
}

func dialer(c *stack.Conn, err error) stack.Dialer {
	return func(context.Context, stack.Session) (*stack.Conn, error) { return c, err }
}

// passed has one connection accepted, and another dialed, by m.
func passed(t *testing.T, m *Metrics, l Labels) {
	t.Helper()
	src, client := pipe(t)
	dst, server := pipe(t)
	go func() { _, _ = client.Write([]byte("hello")) }()
	go func() { _, _ = io.Copy(io.Discard, server) }()
	serve := m.Accepted(l)(func(ctx context.Context, c *stack.Conn) error {
		to, err := m.Dialed(l)(dialer(dst, nil))(ctx, stack.NoSession)
		if err != nil {
			return err
		}
		defer c.Close()
		defer to.Close()
		got := make([]byte, 5)
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		_, err = to.Write(got)
		to.Failed(&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNRESET)})
		return err
	})
	if _, err := src.Peek(3); err != nil {
		t.Fatal(err)
	}
	if err := serve(t.Context(), src); err != nil {
		t.Fatal(err)
	}
}

func TestConnections(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	l := Outbound.Labels().Join(Target(netip.MustParseAddrPort("[2001:db8::1]:80"))).Join(Loopback.Labels())
	passed(t, m, l)
	const src = `{direction="outbound",peer="src",target_addr="[2001:db8::1]:80",target_ip="2001:db8::1",target_port="80",tls="no_identity",no_tls_reason="loopback"`
	const dst = `{direction="outbound",peer="dst",target_addr="[2001:db8::1]:80",target_ip="2001:db8::1",target_port="80",tls="no_identity",no_tls_reason="loopback"`
	equalLines(t, exposed(t, m, "tcp_"),
		`tcp_close_total`+dst+`,errno="ECONNRESET"} 1`,
		`tcp_close_total`+src+`,errno=""} 1`,
		`tcp_open_connections`+dst+`} 0`,
		`tcp_open_connections`+src+`} 0`,
		`tcp_open_total`+dst+`} 1`,
		`tcp_open_total`+src+`} 1`,
		`tcp_read_bytes_total`+dst+`} 0`,
		`tcp_read_bytes_total`+src+`} 5`,
		`tcp_write_bytes_total`+dst+`} 5`,
		`tcp_write_bytes_total`+src+`} 0`)
}

func TestOpenConnectionsAndOnClose(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	conn, _ := pipe(t)
	var told []error
	conn.OnClose = func(err error) { told = append(told, err) }
	gauge := func() string { return fmt.Sprint(exposed(t, m, "tcp_open_connections")) }
	serve := m.Accepted(Inbound.Labels())(func(_ context.Context, c *stack.Conn) error {
		if got := gauge(); got != `[tcp_open_connections{direction="inbound",peer="src"} 1]` {
			t.Errorf("while open: %s", got)
		}
		c.Failed(errors.New("not the system's"))
		return errors.Join(c.Close(), c.Close())
	})
	if err := serve(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if got := gauge(); got != `[tcp_open_connections{direction="inbound",peer="src"} 0]` {
		t.Errorf("after: %s", got)
	}
	if len(told) != 1 || told[0] == nil {
		t.Errorf("OnClose was told %v", told)
	}
	equalLines(t, exposed(t, m, "tcp_close_total"), `tcp_close_total{direction="inbound",peer="src",errno=""} 1`)
}

func TestFailedDialIsNotCounted(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	if _, err := m.Dialed(Outbound.Labels())(dialer(nil, syscall.ECONNREFUSED))(t.Context(), 0); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal(err)
	}
	equalLines(t, exposed(t, m, "tcp_"))
}

func TestErrno(t *testing.T) {
	for want, err := range map[string]error{
		"":           io.EOF,
		"EPIPE":      fmt.Errorf("writing: %w", syscall.EPIPE),
		"ETIMEDOUT":  &net.OpError{Err: os.NewSyscallError("read", syscall.ETIMEDOUT)},
		"ECONNRESET": errors.Join(io.ErrUnexpectedEOF, syscall.ECONNRESET),
	} {
		if got := errno(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := errno(nil); got != "" {
		t.Errorf("nil: %q", got)
	}
}
