package stack

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/tls"
)

// A Conn is an accepted connection, and what is known of it so far. Layers fill
// in its fields on the way down; no layer changes a field that another has set.
type Conn struct {
	net.Conn

	Client  netip.AddrPort // who opened it, never an IPv4 address mapped into IPv6
	OrigDst netip.AddrPort // where the client meant to go
	Peer    tls.ID         // who the client proved to be

	TLS        TLSState // what became of the client's TLS
	PolicyPort uint16   // the port whose policy applies, if it is not OrigDst's; else zero
	Secured    *Secured // what the client said in TLS; nil if there is none, or nobody has looked

	// Server, if it is not nil, is the connection to which this one is to be
	// forwarded: detection had to open it. Whoever takes it sets it to nil.
	Server *Conn

	// Meter, if it is not nil, counts the bytes that pass.
	Meter *Meter

	// OnClose, if it is not nil, is called by the first Close, with what
	// Failed was given.
	OnClose func(err error)

	// CloseClient, if it is not nil, asks the codec to end the connection
	// gracefully once what is in hand is answered.
	CloseClient func()

	// Outer, if it is not nil, is the connection within which this one lies: the one
	// that was accepted.
	Outer *Conn

	holder atomic.Value // a Holder, once it is known what the connection is

	peeked []byte // received by Peek and not yet returned by Read
	failed atomic.Pointer[error]
	closed atomic.Bool
}

// A Meter counts the bytes of all connections that share it, from the proxy's
// point of view.
type Meter struct{ Read, Written atomic.Int64 }

// A TLSState is what became of the TLS of an accepted connection.
type TLSState uint8

// What can become of it.
const (
	Unexamined TLSState = iota // nobody has looked
	NoTLS                      // plain text, or TLS that asks for no name
	SkippedTLS                 // nobody is to look: the port's policy says that it is opaque
	ForeignTLS                 // it is for somebody else, and passed on as it came
	MeshTLS                    // it ended here; Conn.Peer is who the client proved to be
)

// Secured is what the client said in TLS, and in the transport header within it.
// It never changes: who learns more gives the Conn another.
type Secured struct {
	SNI     string // the name that the client asked for, in lower case
	ALPN    string // the protocol that was agreed on; "" if none was, or it is not known
	Headed  bool   // whether there was a transport header, of which the next two are
	Session Session
	Name    string // the destination behind this gateway; "" if it is this workload
}

// A Session is what a connection is to carry, as a transport header names it.
type Session uint8

// The sessions that a transport header can name.
const (
	NoSession Session = iota // bytes
	HTTP1Session
	HTTP2Session
)

// A Dialer opens a connection to one peer. Its error says which, and wraps
// ErrUnsent.
type Dialer func(ctx context.Context, s Session) (*Conn, error)

// peekBytes is enough for what detection looks at, in one read.
const peekBytes = 1024

// peeks are the rooms for what is peeked, once it has been read.
var peeks sync.Pool //nolint:gochecknoglobals // a pool of empty buffers is no state

// Peek waits until n bytes are unread, and returns all that are. It consumes
// none, and they are valid until the next Read. The caller sets the read deadline. On
// an error it returns what there is.
func (c *Conn) Peek(n int) ([]byte, error) {
	for len(c.peeked) < n {
		if c.peeked == nil {
			if room, _ := peeks.Get().(*[peekBytes]byte); room != nil {
				c.peeked = room[:0]
			}
		}
		c.peeked = slices.Grow(c.peeked, max(n-len(c.peeked), peekBytes))
		m, err := c.Conn.Read(c.peeked[len(c.peeked):cap(c.peeked)])
		c.peeked = c.peeked[:len(c.peeked)+m]
		c.CountRead(m)
		if err != nil {
			return c.peeked, err
		}
	}
	return c.peeked, nil
}

// Peeked returns what was peeked and not yet read, and forgets it: for whoever
// goes on with the connection below.
func (c *Conn) Peeked() []byte {
	p := c.peeked
	c.peeked = nil
	return p
}

// Unread reports whether there is something peeked and not yet read.
func (c *Conn) Unread() bool { return len(c.peeked) > 0 }

// Read returns what was peeked first.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.peeked) == 0 {
		n, err := c.Conn.Read(p)
		c.CountRead(n)
		return n, err
	}
	n := copy(p, c.peeked)
	if n < len(c.peeked) {
		c.peeked = c.peeked[n:]
		return n, nil
	}
	if cap(c.peeked) == peekBytes {
		peeks.Put((*[peekBytes]byte)(c.peeked[:peekBytes]))
	}
	c.peeked = nil
	return n, nil
}

// Write counts what it writes.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.CountWritten(n)
	return n, err
}

// TryWrite writes as much of p as fits without waiting: nothing, if the connection
// below cannot say how much that is.
func (c *Conn) TryWrite(p []byte) (int, error) {
	t, ok := c.Conn.(interface {
		TryWrite(p []byte) (n int, err error)
	})
	if !ok {
		return 0, nil
	}
	n, err := t.TryWrite(p)
	c.CountWritten(n)
	return n, err
}

// CountRead counts n bytes that were received past Read.
func (c *Conn) CountRead(n int) {
	if c.Meter != nil && n > 0 {
		c.Meter.Read.Add(int64(n))
	}
}

// CountWritten counts n bytes that were sent past Write.
func (c *Conn) CountWritten(n int) {
	if c.Meter != nil && n > 0 {
		c.Meter.Written.Add(int64(n))
	}
}

// Failed says why the connection is about to be closed. The first reason stands.
func (c *Conn) Failed(err error) {
	if err != nil {
		c.failed.CompareAndSwap(nil, &err)
	}
}

// Close closes the connection below, and tells OnClose.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	if c.closed.Swap(true) || c.OnClose == nil {
		return err
	}
	if why := c.failed.Load(); why != nil {
		c.OnClose(*why)
	} else {
		c.OnClose(nil)
	}
	return err
}

// CloseWrite closes the writing half, if the connection below has halves.
func (c *Conn) CloseWrite() error { return CloseWrite(c.Conn) }

// CloseWrite closes c's writing half, if it has halves.
func CloseWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}
