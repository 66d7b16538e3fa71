package codec

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Dialling knows whether a server may be dialled: not from a failed dial until a
// pause is over. The pauses grow until a dial succeeds.
type Dialling struct {
	Guard *guard.Guard // is told of panics; may be nil

	backoff func() func() time.Duration // a new sequence of pauses; nil for none
	changed func()

	trouble atomic.Bool // since a failed dial, until one succeeds
	failing atomic.Bool // since a failed dial, until the pause is over

	mu     sync.Mutex
	pauses func() time.Duration // nil while dials succeed
	wake   *time.Timer
	closed bool
}

// NewDialling returns what pauses by backoff, and calls changed, which may be nil,
// when what Ready reports may have changed.
func NewDialling(backoff func() func() time.Duration, changed func()) *Dialling {
	return &Dialling{backoff: backoff, changed: changed}
}

// Ready reports whether it makes sense to dial. It costs one atomic load.
func (d *Dialling) Ready() bool { return !d.failing.Load() }

// Dialled notes how a dial went. One that its own request gave up, or for which
// something was lacking here, says nothing of the server.
func (d *Dialling) Dialled(ctx context.Context, err error) {
	if d.backoff == nil || err == nil && !d.trouble.Load() || err != nil && (ctx.Err() != nil || errors.Is(err, stack.ErrExhausted)) {
		return
	}
	d.note(err)
	d.tell()
}

func (d *Dialling) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble.Store(err != nil)
	if err == nil {
		d.pauses = nil
		d.failing.Store(false)
		d.stop()
	} else if !d.failing.Load() && !d.closed {
		if d.pauses == nil {
			d.pauses = d.backoff()
		}
		d.failing.Store(true)
		d.wake = d.Guard.AfterFunc(d.pauses(), "dial pause", d.recover)
	}
}

// Close ends the pause in hand.
func (d *Dialling) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.stop()
}

func (d *Dialling) stop() {
	if d.wake != nil {
		d.wake.Stop()
	}
}

func (d *Dialling) recover() {
	d.failing.Store(false)
	d.tell()
}

func (d *Dialling) tell() {
	if d.changed != nil {
		d.changed()
	}
}
