package h2

import (
	"errors"
	"fmt"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Patience is how requests wait for a server that cannot be dialled, as one that
// does not listen yet. Its Pool then dials on, by Params.Backoff, until there is a
// connection, whether or not anybody still waits. The zero Patience has requests
// fail with the dial that they have waited for.
type Patience struct {
	Time     time.Duration // from the first that waits; then all fail who do, and others at once
	Requests int           // that may wait at once
}

// Why a request did not wait for a connection, or not for longer. Each is beside
// stack.ErrUnsent and the failure of the latest dial.
var (
	// ErrFailFast means that the request has waited for as long as it may: 504.
	ErrFailFast = errors.New("server could not be reached in time")
	// ErrUnavailable means that others did so before, and it cannot be reached yet: 503.
	ErrUnavailable = errors.New("failing fast, as the server cannot be reached")
	// ErrQueueFull means that as many requests wait as may: 503.
	ErrQueueFull = errors.New("too many wait for the server")

	errNotYet = errors.New("it has not answered yet")
)

// A dialing is one attempt to get a connection that all who need it share. Its Pool's
// mu guards it, but for what is not changed once the channels are closed.
type dialing struct {
	done   chan struct{}
	err    error
	paused bool  // between two dials
	cause  error // the latest dial's

	// What follows is there from the first request on that has no connection.

	timer *time.Timer
	late  chan struct{} // closed by expire; nil means that nobody fails by it
	why   error         // what those are told who have waited until then
	shut  bool          // late is closed
}

// unreachable makes err, one of those above, what a request is told.
func (d *dialing) unreachable(err error) error {
	cause := d.cause
	if cause == nil {
		cause = errNotYet
	}
	return &unreachableError{err, cause}
}

type unreachableError struct{ err, cause error }

func (e *unreachableError) Error() string   { return fmt.Sprintf("%v: %v", e.err, e.cause) }
func (e *unreachableError) Unwrap() []error { return []error{e.err, stack.ErrUnsent, e.cause} }

// expect says why a request is not to wait for d, beside waiting others. The first
// that does begins the time in which all may. The caller holds mu.
func (p *Pool) expect(d *dialing, waiting int) error {
	limits := &p.params.Patience
	switch {
	case limits.Time == 0:
		return nil
	case d.shut:
		return d.unreachable(ErrUnavailable)
	case waiting >= limits.Requests:
		return d.unreachable(ErrQueueFull)
	case d.timer == nil:
		d.late = make(chan struct{})
		d.timer = p.params.Guard.AfterFunc(limits.Time, stageTimer, func() { p.expire(d) })
	}
	return nil
}

// expire ends the wait of all, but not the dialing.
func (p *Pool) expire(d *dialing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialing == d {
		d.why = d.unreachable(ErrFailFast)
		d.shut = true
		close(d.late)
	}
}

// failed notes that a dial failed with err, and reports whether another follows: at
// once, or when resume is called. While there is a connection, who needs another may
// as well wait for room on that. The caller holds mu.
func (p *Pool) failed(d *dialing, err error) (again bool) {
	if errors.Is(err, stack.ErrExhausted) { // to dial again would be no better, and at once
		return false
	}
	if p.params.Patience.Time == 0 || p.params.Backoff == nil || p.closed || len(*p.conns.Load()) > 0 {
		return false
	}
	d.cause = err
	if p.state.Ready() {
		go p.tryGuarded(d)
	} else {
		d.paused = true
	}
	return true
}

// resume dials again once the pause is over.
func (p *Pool) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.dialing; d != nil && d.paused && p.state.Ready() {
		d.paused = false
		go p.tryGuarded(d)
	}
}

// settle ends the dialing in hand, for all who wait for it. The caller holds mu.
func (p *Pool) settle(err error) {
	d := p.dialing
	p.dialing = nil
	if d.timer != nil {
		d.timer.Stop()
	}
	d.err = err
	close(d.done)
}
