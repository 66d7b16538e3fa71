package l4

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A hearing waits for the first word of a server, while another goroutine waits for
// the client's.
type hearing struct {
	client *stack.Conn
	insist bool // that a dial that fails ends the wait for the client
	cancel context.CancelFunc
	done   chan struct{} // closed when the rest is final

	mu      sync.Mutex  // guards what follows until done
	over    bool        // the client's wait is
	server  *stack.Conn // if it is open
	said    said        // by the server
	refused error       // why the server cannot be dialled, if that is insisted on
}

// startHearing dials the server, and listens to it until end. When it speaks, the
// client's reads fail from then on.
func startHearing(ctx context.Context, c *stack.Conn, dial stack.Dialer, insist bool) *hearing {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // ctx says no more than that the proxy drains
	h := &hearing{client: c, insist: insist, cancel: cancel, done: make(chan struct{})}
	go h.run(ctx, dial)
	return h
}

// end ends the wait for the server, and returns when the hearing is final.
func (h *hearing) end() {
	h.mu.Lock()
	h.over = true
	if h.server != nil {
		wake(h.server)
	}
	h.mu.Unlock()
	h.cancel()
	<-h.done
	if h.server != nil {
		_ = h.server.SetReadDeadline(time.Time{}) // if it fails, so does what is read
	}
}

// run is named, not a literal, so that it has a name in goroutine dumps.
func (h *hearing) run(ctx context.Context, dial stack.Dialer) {
	defer close(h.done)
	s, err := dial(ctx, stack.NoSession)
	if err != nil {
		h.failed(err)
		return
	}
	if !h.opened(s) {
		_ = s.Close()
		return
	}
	said, open := firstWord(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.said = said; {
	case said == saidOpaque:
		wake(h.client)
	case said == saidHTTP || !open:
		_ = s.Close()
		h.server = nil
	}
}

// opened reports whether s is still asked for.
func (h *hearing) opened(s *stack.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.server = s
	}
	return !h.over
}

func (h *hearing) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.insist && !h.over {
		h.refused = err
		wake(h.client)
	}
}

// wake ends c's reads, those that wait and those to come, until it is given
// another deadline. It consumes nothing.
func wake(c *stack.Conn) { _ = c.SetReadDeadline(time.Unix(1, 0)) }

// said is what a server's first bytes are.
type said uint8

const (
	saidNothing said = iota // that would decide
	saidHTTP
	saidOpaque
)

// firstWord waits until the server has said enough to tell HTTP from the rest, and
// consumes nothing. It reports whether the server's half is open still.
func firstWord(s *stack.Conn) (what said, open bool) {
	for seen := 0; ; {
		b, err := s.Peek(seen + 1)
		if what := classifyServer(b); what != saidNothing {
			return what, true
		}
		seen = len(b)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && seen > 0:
			return saidOpaque, true // the end will be forwarded after them
		default:
			return saidNothing, errors.Is(err, os.ErrDeadlineExceeded) // by which wake ends it
		}
	}
}

// classifyServer looks at how a server begins: HTTP/1 with a status line, which is
// no answer to anything but a timeout here; HTTP/2 with a SETTINGS frame, for which
// it need not wait (RFC 9113, section 3.4).
func classifyServer(b []byte) said {
	switch {
	case len(b) == 0:
		return saidNothing
	case b[0] == 'H':
		return prefixed(b, "HTTP/")
	default:
		return settings(b)
	}
}

// prefixed looks for a status line.
func prefixed(b []byte, prefix string) said {
	n := min(len(b), len(prefix))
	switch {
	case string(b[:n]) != prefix[:n]:
		return saidOpaque
	case n < len(prefix):
		return saidNothing
	default:
		return saidHTTP
	}
}

// settings looks for the head of a SETTINGS frame: three bytes of length, a
// multiple of six, the type, no flags, and stream zero.
func settings(b []byte) said {
	const head, kind, maxLength = 9, 4, 1 << 14
	for i, want := range [head]byte{3: kind} {
		switch {
		case i >= len(b):
			return saidNothing
		case i > 2 && b[i] != want:
			return saidOpaque
		case i == 2:
			if n := int(b[0])<<16 | int(b[1])<<8 | int(b[2]); n%6 != 0 || n > maxLength {
				return saidOpaque
			}
		}
	}
	return saidHTTP
}
