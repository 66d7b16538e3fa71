package l4

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// learnedAfter is how many connections to a target in a row its server must have
// spoken first on, to be heard at once from then on.
const learnedAfter = 3

// A Detector detects what the connections to one target speak. It is Detect, and
// hears the server too: where the client has said nothing for a while it opens
// the connection to the server, as for one that is opaque, and waits for which of
// the two speaks first. If the server does, the connection is opaque. If the client
// does, that is looked at as ever: a client of HTTP that is slow loses nothing.
//
// Silence alone decides nothing, and neither does a server that speaks HTTP, as
// one of HTTP/2 may before its client has. Where HTTP was once spoken, the server
// is not heard again.
type Detector struct {
	Timeout time.Duration // as DetectConfig's
	// Silence is how long a client says nothing until the server is heard. Zero:
	// it never is.
	Silence time.Duration
	// Dial opens the connection to the server.
	Dial stack.Dialer
	// Admits says whether a client may be forwarded as opaque. The server is not
	// dialled for others. Nil: all may.
	Admits func(*stack.Conn) bool
	// Learned, if it is not nil, is called once, when this target's server has
	// spoken first so often that it is heard at once from now on.
	Learned func()

	http  atomic.Bool  // was spoken
	inRow atomic.Int32 // connections on which the server spoke first, up to learnedAfter
	told  atomic.Bool  // Learned was
}

// Detect is as the function of that name. If it has opened the connection to the
// server, and c is opaque, that is c.Server.
func (d *Detector) Detect(ctx context.Context, c *stack.Conn) (Detection, error) {
	start := time.Now()
	if !d.hears() {
		return d.note(detectSince(c, start, d.Timeout))
	}
	if !d.learned() {
		seen, err := detectSince(c, start, d.Silence)
		if err != nil || seen.Result != ReadTimeout {
			return d.note(seen, err)
		}
	}
	if c.Unread() || d.Admits != nil && !d.Admits(c) {
		return d.note(detectSince(c, start, d.Timeout))
	}
	return d.hear(ctx, c, start)
}

// hears reports whether the server is heard at all. A silence that outlasts the
// whole of detection never comes to an end.
func (d *Detector) hears() bool {
	return d.Silence > 0 && (d.Timeout == 0 || d.Silence < d.Timeout) && !d.http.Load()
}

func (d *Detector) learned() bool { return d.inRow.Load() >= learnedAfter }

// note remembers who spoke first on a connection.
func (d *Detector) note(seen Detection, err error) (Detection, error) {
	switch {
	case err != nil: // nobody
	case seen.Protocol != Opaque:
		if !d.http.Load() { // or else all connections would write it
			d.http.Store(true)
		}
	case seen.Result == ServerFirst:
		if d.inRow.Load() < learnedAfter && d.inRow.Add(1) == learnedAfter && d.Learned != nil && !d.told.Swap(true) {
			d.Learned()
		}
	case d.inRow.Load() != 0:
		d.inRow.Store(0)
	}
	return seen, err
}

// hear waits for which side speaks first, for what is left of the timeout.
func (d *Detector) hear(ctx context.Context, c *stack.Conn, start time.Time) (Detection, error) {
	defer func() { _ = c.SetReadDeadline(time.Time{}) }() // fails on a closed connection only
	h := d.ask(ctx, c, start)
	switch {
	case h.said == saidOpaque:
		c.Server = h.server
		return d.note(Detection{Protocol: Opaque, Result: ServerFirst, Elapsed: time.Since(start)}, nil)
	case h.said == saidHTTP:
		d.http.Store(true)
	case h.refused != nil && !c.Unread():
		return Detection{Result: ReadError, Elapsed: time.Since(start)}, Refuse(c, fmt.Errorf("forward: %w", h.refused))
	case h.refused != nil:
		return d.note(detectSince(c, start, d.Timeout))
	}
	p, r, err := detect(c)
	seen := Detection{Protocol: p, Result: r, Elapsed: time.Since(start)}
	if h.server == nil {
		return d.note(seen, err)
	}
	return d.opened(c, h.server, seen, err)
}

// ask waits until the client has said something, or the server.
func (d *Detector) ask(ctx context.Context, c *stack.Conn, start time.Time) *hearing {
	if d.Timeout > 0 {
		_ = c.SetReadDeadline(start.Add(d.Timeout)) // before the hearing, which may put it forward; fails on a closed connection only
	}
	h := startHearing(ctx, c, d.Dial, d.learned())
	_, _ = c.Peek(1) // what came of it, detect sees again
	h.end()
	return h
}

// opened gives c the server, which has said nothing so far, or closes it.
func (d *Detector) opened(c, server *stack.Conn, seen Detection, err error) (Detection, error) {
	switch {
	case errors.Is(err, ErrClosedEarly): // one half of it, for all that is known: the server may still answer
		seen.Result, err = NotHTTP, nil
	case err != nil || seen.Protocol != Opaque:
		_ = server.Close()
		return d.note(seen, err)
	default:
		seen, err = d.note(seen, err)
	}
	c.Server = server
	return seen, err
}

// CloseUnused closes the server that detection has opened, if no layer below has
// taken it. It stands above all that may refuse a connection as opaque.
func CloseUnused(next stack.Handler) stack.Handler {
	return func(ctx context.Context, c *stack.Conn) error {
		defer DropServer(c)
		return next(ctx, c)
	}
}
