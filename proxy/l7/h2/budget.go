package h2

import (
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A budget bounds how often a peer may make the proxy work for nothing: a bucket
// of tokens that fills with time.
type budget struct {
	tokens, most float64
	perSecond    float64
	last         time.Time
}

func newBudget(most, perSecond int) budget {
	return budget{tokens: float64(most), most: float64(most), perSecond: float64(perSecond), last: time.Now()}
}

// spend takes one token. It reports whether there was one.
func (b *budget) spend() bool { return b.take(1) }

// take takes n tokens. It reports whether there were as many.
func (b *budget) take(n float64) bool {
	if b.tokens < n {
		b.fill()
	}
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// earn puts n tokens back: the peer has done something worth them.
func (b *budget) earn(n int) { b.tokens = min(b.tokens+float64(n), b.most) }

// fill looks at the clock only when the bucket is empty.
func (b *budget) fill() {
	now := time.Now()
	b.tokens = min(b.tokens+now.Sub(b.last).Seconds()*b.perSecond, b.most)
	b.last = now
}

// What one connection's peer may do before it is told to calm down.
const (
	controlBurst, controlRate = 10_000, 2_000 // PING, SETTINGS, PRIORITY, empty DATA, unknown frames
	updateBurst, updateRate   = 20_000, 10_000
	resetBurst, resetRate     = 300, 1_000 // streams that the client gave up; each that it does not earns one more
	refuseBurst, refuseRate   = 500, 50    // streams that had to be reset here
)

// rapidLife is how long a stream lives, at most, whose reset counts in full: the
// client cannot have waited for its answer. One that has lived longer is a request that
// was given up, of which a peer that carries many clients' may have thousands a second
// when its server is slow; to end its connection would fail the others too.
const (
	rapidLife  = 100 * time.Microsecond
	patientFee = 0.125 // of one token
)

// afford spends one token of b. What is sent earns some: peers measure their way by a
// PING for what they receive, and give credit for it by WINDOW_UPDATE, each as often as
// once a frame.
func (c *conn) afford(b *budget) bool {
	if b.spend() {
		return true
	}
	sent := c.sent
	c.sent = 0
	c.control.earn(sent)
	c.updates.earn(2 * sent) // of the stream and of the connection
	return b.spend()
}

func calm(what string) error { return &connError{stack.EnhanceYourCalm, what} }
