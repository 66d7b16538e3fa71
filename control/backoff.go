package control

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// A Backoff says how long to wait between tries: Min at first, twice as long
// each time, Max in the end. It is Linkerd's ExponentialBackoff.
type Backoff struct {
	Min, Max time.Duration
	// Jitter is the most that chance may add to a delay, as a share of it. No
	// delay is made longer than Max.
	Jitter float64
}

// maxJitter is the greatest ratio that the reference takes.
const maxJitter = 100

// Validate returns an error that says which rule b breaks: 0 ≤ Min ≤ Max,
// 0 < Max, 0 ≤ Jitter ≤ 100.
func (b Backoff) Validate() error {
	switch {
	case b.Min < 0:
		return fmt.Errorf("backoff minimum %v is negative", b.Min)
	case b.Max <= 0:
		return fmt.Errorf("backoff maximum %v is not positive", b.Max)
	case b.Min > b.Max:
		return fmt.Errorf("backoff minimum %v is over its maximum %v", b.Min, b.Max)
	case math.IsNaN(b.Jitter), b.Jitter < 0, b.Jitter > maxJitter:
		return fmt.Errorf("backoff jitter %v is not between 0 and %d", b.Jitter, maxJitter)
	}
	return nil
}

// Within returns b with no delay longer than d.
func (b Backoff) Within(d time.Duration) Backoff {
	b.Min, b.Max = min(b.Min, d), min(b.Max, d)
	return b
}

// Start returns a fresh sequence of delays.
func (b Backoff) Start() *Delays {
	return &Delays{backoff: b, random: rand.Float64}
}

// base is the n-th delay without its jitter.
func (b Backoff) base(n uint) time.Duration {
	if b.Min > b.Max>>n { // as Min<<n > Max, but it cannot overflow
		return b.Max
	}
	return b.Min << n
}

// Delays are one sequence of a Backoff's delays. Only one goroutine may use
// them.
type Delays struct {
	backoff Backoff
	random  func() float64 // in [0, 1)
	n       uint           // of the delays that have passed; stops at maxShift
}

// maxShift is where doubling has nothing left to double.
const maxShift = 63

// Next returns the next delay and moves on.
func (d *Delays) Next() time.Duration {
	delay := d.current()
	d.advance()
	return delay
}

// Wait waits for the next delay. It returns early, with the cause, if ctx is
// done; that delay then comes again.
func (d *Delays) Wait(ctx context.Context) error {
	if err := sleep(ctx, d.current()); err != nil {
		return err
	}
	d.advance()
	return nil
}

// Reset begins the sequence anew, as after a success.
func (d *Delays) Reset() { d.n = 0 }

func (d *Delays) advance() { d.n = min(d.n+1, maxShift) }

func (d *Delays) current() time.Duration {
	base := d.backoff.base(d.n)
	jitter := d.random() * d.backoff.Jitter * float64(base)
	if jitter >= float64(d.backoff.Max-base) {
		return d.backoff.Max
	}
	return base + time.Duration(jitter)
}

func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
