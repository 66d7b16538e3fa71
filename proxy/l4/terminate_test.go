package l4

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/tls"
)

var errAlert = errors.New("handshake failure")

// plainly is a handshake that reads the ClientHello and goes on in the clear, as
// who and with what it is told.
func plainly(hello []byte, peer tls.ID, alpn string) Handshake {
	return func(_ context.Context, c *stack.Conn) (net.Conn, tls.ID, string, error) {
		got := make([]byte, len(hello))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != string(hello) {
			return nil, "", "", errors.Join(err, errAlert)
		}
		return c, peer, alpn, nil
	}
}

// caught gives each connection that it is given to the test, and what is said on it.
func caught(into **stack.Conn, said *string) stack.Handler {
	return func(_ context.Context, c *stack.Conn) error {
		*into = c
		b, err := io.ReadAll(c)
		*said = string(b)
		return errors.Join(err, c.Close())
	}
}

func TestTerminate(t *testing.T) {
	ours, others := shape{extensions: sni("web.test")}.bytes(), shape{extensions: sni("db.test")}.bytes()
	dotted := shape{extensions: sni("web.test.")}.bytes()
	for name, tt := range map[string]struct {
		in   string
		tls  stack.TLSState
		sni  string
		peer tls.ID
		said string
	}{
		"our name":      {string(ours) + "hi", stack.MeshTLS, "web.test", "client.test", "hi"},
		"another's":     {string(others) + "hi", stack.ForeignTLS, "db.test", "", string(others) + "hi"},
		"our name, cut": {string(ours[:30]), stack.NoTLS, "", "", string(ours[:30])},
		"no name":       {string(shape{}.bytes()), stack.NoTLS, "", "", string(shape{}.bytes())},
		"a final dot":   {string(dotted), stack.ForeignTLS, "web.test.", "", string(dotted)},
		"plain text":    {"GET / HTTP/1.1\r\n\r\n", stack.NoTLS, "", "", "GET / HTTP/1.1\r\n\r\n"},
	} {
		var got *stack.Conn
		var said string
		c := &stack.Conn{
			Conn: &closable{pieces: pieces{of: [][]byte{[]byte(tt.in)}}}, OrigDst: netip.MustParseAddrPort("10.0.0.1:80"),
			Client: netip.MustParseAddrPort("10.0.0.2:5"),
		}
		h := Terminate("web.test", time.Second, plainly(ours, "client.test", ""))(caught(&got, &said))
		if err := h(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		foundSNI := ""
		if got.Secured != nil {
			foundSNI = got.Secured.SNI
		}
		if got.TLS != tt.tls || foundSNI != tt.sni || got.Peer != tt.peer || said != tt.said || got.OrigDst != c.OrigDst || got.Client != c.Client {
			t.Errorf("%s: %+v, SNI %q, %q", name, got, foundSNI, said)
		}
	}
}

// closable is pieces that can be closed.
type closable struct {
	pieces
	closed bool
}

func (c *closable) Close() error                { c.closed = true; return nil }
func (c *closable) SetDeadline(time.Time) error { return nil }

func TestTerminateFails(t *testing.T) {
	ours := shape{extensions: sni("web.test")}.bytes()
	for name, tt := range map[string]struct {
		in   string
		want error
	}{
		"a handshake":         {string(ours), errAlert},
		"an oversized hello":  {"\x16\x03\x01\x40\x00\x01\x00\x40\x01", ErrHelloSize},
		"another's oversized": {"\x16\x03\x01\x40\x00\x01\x01\x40\x01", ErrHelloSize},
	} {
		below := &closable{pieces: pieces{of: [][]byte{[]byte(tt.in)}}}
		var told error
		c := &stack.Conn{Conn: below, OnClose: func(err error) { told = err }}
		h := Terminate("web.test", time.Second, plainly([]byte("?"), "", ""))(notReached(t))
		if err := h(t.Context(), c); !errors.Is(err, tt.want) || !below.closed || !errors.Is(told, tt.want) {
			t.Errorf("%s: %v, closed %v for %v; want %v", name, err, below.closed, told, tt.want)
		}
	}
}

func notReached(tb testing.TB) stack.Handler {
	tb.Helper()
	return func(_ context.Context, c *stack.Conn) error {
		tb.Error("it is let through")
		return c.Close()
	}
}

// TestTerminateIsBounded: the timeout is for hello and handshake together.
func TestTerminateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		ours := shape{extensions: sni("web.test")}.bytes()
		go func() {
			client.Write(ours[:10])
			time.Sleep(4 * time.Second)
			client.Write(ours[10:])
		}()
		start := time.Now()
		slow := func(ctx context.Context, _ *stack.Conn) (net.Conn, tls.ID, string, error) {
			<-ctx.Done()
			return nil, "", "", context.Cause(ctx)
		}
		drains, drain := context.WithCancel(t.Context())
		drain() // which is no reason to end a handshake
		err := Terminate("web.test", 10*time.Second, slow)(notReached(t))(drains, &stack.Conn{Conn: server})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// headed is a connection within its TLS that says said.
func headed(peer tls.ID, alpn string, said ...string) *stack.Conn {
	c := &stack.Conn{Conn: &closable{}, Peer: peer, TLS: stack.MeshTLS, OrigDst: netip.MustParseAddrPort("10.0.0.1:4143")}
	for _, s := range said {
		c.Conn.(*closable).of = append(c.Conn.(*closable).of, []byte(s))
	}
	c.Secured = &stack.Secured{SNI: "web.test", ALPN: alpn}
	return c
}

func TestDirect(t *testing.T) {
	for _, s := range []stack.Session{stack.NoSession, stack.HTTP1Session, stack.HTTP2Session} {
		var got *stack.Conn
		var said string
		var told Header
		cfg := DirectConfig{Timeout: time.Second, Own: []uint16{4143}, Headed: func(_ *stack.Conn, h Header) { told = h }}
		c := headed("client.test", HeaderALPN, string(Header{Port: 8080, Session: s}.Append(nil))+"a", "b")
		if err := Direct(cfg)(caught(&got, &said))(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want := stack.Secured{SNI: "web.test", ALPN: HeaderALPN, Headed: true, Session: s}
		if said != "ab" || got.PolicyPort != 8080 || *got.Secured != want || told != (Header{Port: 8080, Session: s}) {
			t.Errorf("%q, port %d, %+v, told %+v", said, got.PolicyPort, *got.Secured, told)
		}
	}
}

func TestDirectRefuses(t *testing.T) {
	good := string(Header{Port: 8080}.Append(nil))
	plain := headed("", "", good)
	plain.TLS, plain.Secured = stack.NoTLS, nil
	foreign := headed("", HeaderALPN, good)
	foreign.TLS = stack.ForeignTLS
	for name, tt := range map[string]struct {
		c    *stack.Conn
		want error
	}{
		"plain text":                  {plain, ErrNotMutual},
		"TLS for another":             {foreign, ErrNotMutual},
		"a client without a name":     {headed("", HeaderALPN, good), ErrNotMutual},
		"no agreement on a header":    {headed("client.test", "", good), ErrNotHeaded},
		"agreement on something else": {headed("client.test", "h2", good), ErrNotHeaded},
		"no header":                   {headed("client.test", HeaderALPN, "GET / HTTP/1.1\r\n"), ErrNoHeader},
		"half a header":               {headed("client.test", HeaderALPN, good[:26]), ErrNoHeader},
		"half a message":              {headed("client.test", HeaderALPN, good[:len(good)-1]), ErrHeader},
		"a destination behind":        {headed("client.test", HeaderALPN, string(Header{Port: 80, Name: "a.b"}.Append(nil))), ErrGateway},
		"the inbound port":            {headed("client.test", HeaderALPN, string(Header{Port: 4143}.Append(nil))), ErrLoop},
		"the admin port":              {headed("client.test", HeaderALPN, string(Header{Port: 4191, Session: stack.HTTP1Session}.Append(nil))), ErrLoop},
	} {
		below := tt.c.Conn.(*closable)
		err := Direct(DirectConfig{Timeout: time.Second, Own: []uint16{4143, 4191}})(notReached(t))(t.Context(), tt.c)
		if !errors.Is(err, tt.want) || !below.closed {
			t.Errorf("%s: %v, closed %v; want %v", name, err, below.closed, tt.want)
		}
		if errors.Is(tt.want, ErrGateway) && !strings.Contains(err.Error(), "client.test asks for a.b, port 80") {
			t.Errorf("%s: %v does not say who and what", name, err)
		}
	}
}

func TestDirectTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		c := headed("client.test", HeaderALPN)
		c.Conn = server
		if err := Direct(DirectConfig{Timeout: time.Second})(notReached(t))(t.Context(), c); !errors.Is(err, ErrHeaderTimeout) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestApart(t *testing.T) {
	for dst, want := range map[string]string{"10.0.0.1:4143": "direct", "[::1]:4143": "direct", "10.0.0.1:80": "other", "10.0.0.1:4140": "other"} {
		got := ""
		into := func(name string) stack.Handler {
			return func(context.Context, *stack.Conn) error { got = name; return nil }
		}
		c := &stack.Conn{OrigDst: netip.MustParseAddrPort(dst)}
		if err := Apart(into("direct"), 4143, 4144)(into("other"))(t.Context(), c); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", dst, got, err, want)
		}
	}
}
