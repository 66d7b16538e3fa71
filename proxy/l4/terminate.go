package l4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/tls"
)

// A Handshake ends TLS on c, whose ClientHello nobody has read, and says who the
// client proved to be and which protocol was agreed on. It is over by ctx's
// deadline. What it returns reads from c, and closes c. It does not close c itself
// if it fails.
type Handshake func(ctx context.Context, c *stack.Conn) (secured net.Conn, peer tls.ID, alpn string, err error)

// Terminate ends the TLS of clients that ask for name, this workload's own. That of
// others it passes on as it came, and plain text too; c.TLS says which it was. What
// it waits for, hello and handshake, must be over within timeout; zero means never.
//
// It stands below all that goes by the connection alone, and above what would look
// at its first bytes for HTTP. A connection of which the port's policy says that it
// is opaque goes past it: its server may speak first.
func Terminate(name string, timeout time.Duration, handshake Handshake) stack.Layer[stack.Handler] {
	t := terminator{name, timeout, handshake}
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			c, err := t.terminate(ctx, c)
			if err != nil {
				return err
			}
			return next(ctx, c)
		}
	}
}

// SkipTLS passes connections on unexamined: those of a port of which its policy says
// that it is opaque.
func SkipTLS(next stack.Handler) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error {
		if c.TLS == stack.Unexamined {
			c.TLS = stack.SkippedTLS
		}
		return next(ctx, c)
	}
}

// A terminator is what a Terminate was given.
type terminator struct {
	name      string
	timeout   time.Duration
	handshake Handshake
}

// terminate returns c, or c as it is within its TLS. It closes c if it fails.
func (t *terminator) terminate(ctx context.Context, c *stack.Conn) (*stack.Conn, error) {
	start := time.Now()
	hello, err := PeekHello(c, t.timeout)
	switch {
	case err != nil:
		return nil, Refuse(c, err)
	case hello.SNI == "":
		c.TLS = stack.NoTLS
		return c, nil
	case hello.SNI != t.name:
		c.TLS, c.Secured = stack.ForeignTLS, &stack.Secured{SNI: hello.SNI}
		return c, nil
	}
	deadline := time.Time{}
	if t.timeout > 0 {
		deadline = start.Add(t.timeout)
	}
	mesh, err := t.secure(ctx, c, deadline)
	if err != nil {
		c.Failed(err)
		_ = c.Close() // in order, for the client to be told why by an alert
		return nil, err
	}
	return mesh, nil
}

// secure returns c as it is within its TLS. A context that is done says no more
// than that the proxy drains, and does not end a handshake.
func (t *terminator) secure(ctx context.Context, c *stack.Conn, deadline time.Time) (*stack.Conn, error) {
	ctx, cancel := whileOpen(ctx, c)
	defer cancel()
	if !deadline.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, deadline)
		defer stop()
	}
	within, peer, alpn, err := t.handshake(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", c.Client, err)
	}
	return &stack.Conn{
		Conn: within, Outer: c, Client: c.Client, OrigDst: c.OrigDst, Peer: peer,
		TLS: stack.MeshTLS, Secured: &stack.Secured{SNI: t.name, ALPN: alpn},
	}, nil
}

// What the direct stack refuses.
var (
	ErrNotMutual = errors.New("direct connections must be mutually authenticated")
	ErrNotHeaded = errors.New("direct connections require transport header negotiation")
	ErrGateway   = errors.New("destinations behind a gateway are not supported yet")
)

// A DirectConfig says what the direct stack takes.
type DirectConfig struct {
	Timeout time.Duration // within which the transport header must be there
	Own     []uint16      // the ports of the proxy itself, where no header may lead
	// Headed, if it is not nil, is told of each connection with a header.
	Headed func(*stack.Conn, Header)
}

// Direct reads the transport header of connections to the inbound port itself, and
// says in the connection what stands in it. Who did not prove an identity, or did
// not agree to send a header, is refused; so is a header that names a destination
// behind this workload, or a port of the proxy, which would be a loop.
//
// It stands below Terminate. Below it, the destination is at c.OrigDst's address
// and port c.PolicyPort; the policy of that port says who may reach it.
func Direct(cfg DirectConfig) stack.Layer[stack.Handler] {
	own := make(map[uint16]bool, len(cfg.Own))
	for _, p := range cfg.Own {
		own[p] = true
	}
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			h, err := headerOf(c, cfg.Timeout)
			if err != nil {
				return Refuse(c, err)
			}
			c.PolicyPort = h.Port
			c.Secured = &stack.Secured{SNI: c.Secured.SNI, ALPN: c.Secured.ALPN, Headed: true, Session: h.Session, Name: h.Name}
			if cfg.Headed != nil {
				cfg.Headed(c, h)
			}
			switch {
			case h.Name != "":
				return Refuse(c, fmt.Errorf("%w: %s asks for %s, port %d", ErrGateway, c.Peer, h.Name, h.Port))
			case own[h.Port]:
				return Refuse(c, fmt.Errorf("%w: the transport header of %s names its port %d", ErrLoop, c.Peer, h.Port))
			}
			return next(ctx, c)
		}
	}
}

// headerOf reads c's transport header, unless c is none that has one.
func headerOf(c *stack.Conn, timeout time.Duration) (Header, error) {
	switch {
	case c.TLS != stack.MeshTLS || c.Peer == "":
		return Header{}, fmt.Errorf("%s: %w", c.Client, ErrNotMutual)
	case c.Secured == nil || c.Secured.ALPN != HeaderALPN:
		return Header{}, fmt.Errorf("%s: %w", c.Peer, ErrNotHeaded)
	}
	h, err := ReadHeader(c, timeout)
	if err != nil {
		return Header{}, fmt.Errorf("%s: %w", c.Peer, err)
	}
	return h, nil
}

// Apart gives connections to one of ports, whatever the address, to h: those that
// were meant for the proxy's own inbound port, and not for one of the application.
//
// It stands below OrigDst, by whose answer it goes.
func Apart(h stack.Handler, ports ...uint16) stack.Layer[stack.Handler] {
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			for _, p := range ports {
				if c.OrigDst.Port() == p {
					return h(ctx, c)
				}
			}
			return next(ctx, c)
		}
	}
}
