package tls

import (
	gotls "crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A Conn is a connection whose peer is known. It is a net.Conn, and has what
// codecs look for beside: CloseWrite, ReadLate, WaitReadable and PeerClosed.
// While it idles it holds no buffer of its own.
type Conn struct {
	tls  *gotls.Conn
	wire wire
	peer ID
	alpn string

	writing sync.Mutex // held for the whole of a write
	reading sync.Mutex // held for the whole of a read; guards what follows
	first   [1]byte    // what WaitReadable has read, if early
	early   bool
}

func newConn(c net.Conn) *Conn {
	return &Conn{wire: wire{Conn: c, patient: true}}
}

// Peer returns who the peer has proved to be: "" if it is a client that has not.
func (c *Conn) Peer() ID { return c.peer }

// ALPN returns the protocol that was negotiated, "" if none was.
func (c *Conn) ALPN() string { return c.alpn }

// NetConn returns the connection below. Nothing may be read from it or written.
func (c *Conn) NetConn() net.Conn { return c.wire.Conn }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.wire.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.wire.RemoteAddr() }

// SetDeadline implements net.Conn. After a write that was late, none succeeds.
func (c *Conn) SetDeadline(t time.Time) error { return c.wire.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.wire.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn, as SetDeadline does.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.wire.SetWriteDeadline(t) }

// Read reads once.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.early {
		if len(p) == 0 {
			return 0, nil
		}
		return c.withFirst(p), nil
	}
	return c.read(p)
}

// withFirst is a read after await, of what crypto/tls has. An error comes again.
func (c *Conn) withFirst(p []byte) int {
	p[0], c.early = c.first[0], false
	n, _ := c.readAtHand(p[1:])
	return 1 + n
}

// readAtHand does not wait: where it would, it returns errNotYet.
func (c *Conn) readAtHand(p []byte) (int, error) {
	c.wire.patient = false
	defer func() { c.wire.patient = true }()
	return c.read(p)
}

// read reads one record, or the rest of one.
func (c *Conn) read(p []byte) (int, error) {
	n, err := c.tls.Read(p)
	if c.wire.eof && (err == io.EOF || err == io.ErrUnexpectedEOF) { //nolint:errorlint // crypto/tls wraps neither
		// crypto/tls lets it pass between two records. But anybody can close the
		// connection below, and so make a part look like the whole.
		err = truncated{}
	}
	return n, err
}

// truncated is io.ErrUnexpectedEOF as well as ErrTruncated.
type truncated struct{}

func (truncated) Error() string { return ErrTruncated.Error() }

func (truncated) Is(err error) bool { return err == ErrTruncated || err == io.ErrUnexpectedEOF }

// WaitReadable waits until there is something to read, and takes nothing. It
// returns io.EOF at the end.
func (c *Conn) WaitReadable() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.await()
}

// await is called with reading held.
func (c *Conn) await() error {
	if c.early {
		return nil
	}
	n, err := c.read(c.first[:])
	c.early = n == 1
	if c.early {
		return nil // an error comes again
	}
	return err
}

// ReadLate waits until there is something to read, and only then takes a buffer
// from get to read it into. It returns that buffer and how much of it was filled,
// at least one byte; or an error, and no buffer. put is not needed.
func (c *Conn) ReadLate(get func() []byte, _ func([]byte)) ([]byte, int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.await(); err != nil {
		return nil, 0, err
	}
	p := get()
	return p, c.withFirst(p), nil
}

// PeerClosed reports whether the peer has closed the connection, or has sent what
// nobody has read. It does not wait. While somebody reads, it reports false.
func (c *Conn) PeerClosed() bool {
	if !c.reading.TryLock() {
		return false
	}
	defer c.reading.Unlock()
	if c.early {
		return true
	}
	n, err := c.readAtHand(c.first[:]) // what crypto/tls has is not known otherwise
	c.early = n == 1
	return c.early || !errors.Is(err, errNotYet) || c.wire.peerClosed()
}

// Write writes all of p, unless it returns an error.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(p) <= maxRecord && !c.wire.isHolding() {
		return c.tls.Write(p)
	}
	c.wire.hold() // behind what a TryWrite has left, if anything
	n, err := c.tls.Write(p)
	if e := c.wire.flush(); e != nil {
		return 0, e
	}
	return n, err
}

// TryWrite takes as much of p as it can without waiting, which may be nothing: that is
// encrypted, and written as far as the connection below takes it. If Holding, the next
// Write, were it of nothing, writes the rest.
func (c *Conn) TryWrite(p []byte) (int, error) {
	try, ok := c.wire.Conn.(tryWriter)
	if !ok || !c.writing.TryLock() {
		return 0, nil
	}
	defer c.writing.Unlock()
	if done, err := c.wire.tryFlush(try); !done || err != nil {
		return 0, err
	}
	c.wire.hold()
	n, err := c.tls.Write(p[:min(len(p), maxTried)])
	if _, e := c.wire.tryFlush(try); e != nil {
		return 0, e
	}
	return n, err
}

// Holding reports whether a TryWrite has left something for the next Write.
func (c *Conn) Holding() bool { return c.wire.isHolding() }

// CloseWrite tells the peer that nothing more will come.
func (c *Conn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.tls.CloseWrite()
}

// Close closes the connection. It wakes whoever reads or writes. It tells the peer
// first, if that can be done at once.
func (c *Conn) Close() error {
	if !c.writing.TryLock() {
		return c.wire.Close() // somebody writes, perhaps to a peer that reads no more
	}
	defer c.writing.Unlock()
	c.wire.hasten() // a reader, too, may be writing: the answer to a KeyUpdate
	err := c.tls.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil // that the peer could not be told is of no use to anyone
}
