package tls

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxRecord = 16 << 10 // what crypto/tls puts into one record
	// maxHeld has room for four full records, each with its header, tag and type.
	maxHeld = 4*maxRecord + 1<<10
	// maxTried is what is encrypted at once, though it may not be taken below.
	maxTried = 4 * maxRecord
	// farewell is how long close_notify may take.
	farewell = 10 * time.Millisecond
)

// held are the buffers of all wires, which have one only while there is something
// in it.
var held = sync.Pool{New: func() any { return new([maxHeld]byte) }} //nolint:gochecknoglobals // a pool of empty buffers is no state

// A tryWriter is a connection that can take what fits without waiting.
type tryWriter interface {
	TryWrite(p []byte) (n int, err error)
}

// A wire is the connection below crypto/tls, which writes each record by itself.
// The wire writes those of one Write together.
type wire struct {
	net.Conn

	// For who holds Conn.reading.
	patient bool // reads may wait
	eof     bool // Conn has ended

	hurry atomic.Bool // what is written now is the farewell

	mu      sync.Mutex // guards what follows
	holding bool
	out     *[maxHeld]byte // nil if nothing is held
	r, n    int            // out[r:n] is held
	err     error          // the first to write, since when the peer has lost the thread
}

// errNotYet is what crypto/tls is told while it shall not wait. It goes on where
// it was, as it does after a deadline.
var errNotYet net.Error = notYet{}

type notYet struct{}

func (notYet) Error() string   { return "nothing has come yet" }
func (notYet) Timeout() bool   { return true }
func (notYet) Temporary() bool { return true }

// Read reads into p, which is crypto/tls's own and has room for a record. To read
// ahead of it was measured, and gained nothing.
func (w *wire) Read(p []byte) (int, error) {
	if !w.patient {
		return 0, errNotYet
	}
	n, err := w.Conn.Read(p)
	w.eof = w.eof || n == 0 && err == io.EOF //nolint:errorlint // a connection does not wrap it
	return n, err
}

// peerClosed asks the connection, if it can tell.
func (w *wire) peerClosed() bool {
	p, ok := w.Conn.(interface{ PeerClosed() bool })
	return ok && p.PeerClosed()
}

// Write writes a record, or holds it.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return 0, w.err
	case !w.holding:
		if err := w.sendHeld(); err != nil { // of a TryWrite
			return 0, err
		}
		return w.send(p)
	case w.n+len(p) > maxHeld:
		if err := w.sendHeld(); err != nil {
			return 0, err
		}
	}
	if len(p) > maxHeld {
		return w.send(p)
	}
	if w.out == nil {
		w.out = held.Get().(*[maxHeld]byte) //nolint:forcetypeassert // it is all that is put there
	}
	w.n += copy(w.out[w.n:], p)
	return len(p), nil
}

// hold has records wait for flush, unless they are too many.
func (w *wire) hold() {
	w.mu.Lock()
	w.holding = true
	w.mu.Unlock()
}

func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = false
	if w.err != nil {
		return w.err
	}
	return w.sendHeld()
}

func (w *wire) sendHeld() error {
	if w.out == nil {
		return nil
	}
	_, err := w.send(w.out[w.r:w.n])
	w.drop()
	return err
}

func (w *wire) drop() {
	held.Put(w.out)
	w.out, w.r, w.n = nil, 0, 0
}

// tryFlush writes what is held as far as that needs no waiting. It reports whether
// nothing is left.
func (w *wire) tryFlush(try tryWriter) (done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = false
	if w.err != nil || w.out == nil {
		return true, w.err
	}
	n, err := try.TryWrite(w.out[w.r:w.n])
	if err != nil {
		w.err = err
	}
	if w.r += n; w.r == w.n || err != nil {
		w.drop()
	}
	return w.out == nil, err
}

// isHolding reports whether something is held that nobody is about to write.
func (w *wire) isHolding() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out != nil
}

func (w *wire) send(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// hasten has what is written now, and later, end soon.
func (w *wire) hasten() {
	w.hurry.Store(true)
	_ = w.Conn.SetWriteDeadline(time.Now().Add(farewell))
}

// SetWriteDeadline is called by crypto/tls, too, before it says farewell. Its
// seconds are too many for who closes a thousand connections.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.hurry.Load() {
		if soon := time.Now().Add(farewell); t.After(soon) {
			t = soon
		}
	}
	return w.Conn.SetWriteDeadline(t)
}
