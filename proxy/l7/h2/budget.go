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
	return budget{tokens: float64(most), most: float64(most), perSecond: float64(perSecond)}
}

// spend takes one token. It reports whether there was one.
func (b *budget) spend() bool {
	if b.tokens < 1 {
		b.fill()
	}
	b.tokens--
	return b.tokens >= 0
}

// earn puts n tokens back: the peer has done something worth them.
func (b *budget) earn(n int) { b.tokens = min(b.tokens+float64(n), b.most) }

// fill looks at the clock only when the bucket is empty.
func (b *budget) fill() {
	now := time.Now()
	if !b.last.IsZero() {
		b.tokens = min(b.tokens+now.Sub(b.last).Seconds()*b.perSecond, b.most)
	}
	b.last = now
}

// What one connection's peer may do before it is told to calm down.
const (
	controlBurst, controlRate = 10_000, 2_000 // PING, SETTINGS, PRIORITY, empty DATA, unknown frames
	updateBurst, updateRate   = 20_000, 10_000
	resetBurst, resetRate     = 200, 20 // streams that the client gave up; each that it does not earns one more
	refuseBurst, refuseRate   = 500, 50 // streams that had to be reset here
)

func calm(what string) error { return &connError{stack.EnhanceYourCalm, what} }
