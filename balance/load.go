package balance

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A load estimates what it costs to give an endpoint one more call: its round
// trip, times the calls in hand plus one.
//
// The round trip is Finagle's peak EWMA. A sample above the estimate becomes the
// estimate; one below is weighed against it by the time since the last, as
// samples come when they come. While none comes the estimate fades, so that an
// endpoint which was once slow is tried again. See Eckner, "Algorithms for
// Unevenly Spaced Time Series".
type load struct {
	// Calls given and calls over; the difference is in hand.
	picked, ended atomic.Uint64

	// The logarithm of what the estimate would have been at the epoch, had it
	// faded since then as it fades now. All estimates of a balancer fade alike, so
	// to compare two at any moment this suffices: readers need neither the time
	// nor a lock.
	level atomic.Uint64 // a float64's bits; the holder of mu stores it

	decay float64 // nanoseconds

	mu  sync.Mutex
	rtt float64       // nanoseconds, as of at
	at  time.Duration // since the epoch
}

// No estimate starts lower, and none fades faster, whatever the control plane
// says: the reference's floors.
const (
	leastRTT   = time.Millisecond
	leastDecay = time.Millisecond
)

func newLoad(rtt, decay, now time.Duration) *load {
	l := &load{decay: float64(max(decay, leastDecay))}
	l.set(float64(max(rtt, leastRTT)), now)
	return l
}

// sample takes in a round trip that ended now.
func (l *load) sample(rtt, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = max(now, l.at) // two that end at once may come in either order
	x := float64(rtt)
	if x <= l.rtt {
		w := math.Exp(-float64(now-l.at) / l.decay)
		x = l.rtt*w + x*(1-w)
	}
	l.set(x, now)
}

// failed takes in a call that ended now without an answer. What that took says
// nothing of how fast answers come, so it can raise the estimate and never lower
// it. Nor may the estimate fade while there are only failures, or an endpoint
// that refuses everything would in time draw all the work.
func (l *load) failed(took, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(max(float64(took), l.rtt), max(now, l.at))
}

func (l *load) set(rtt float64, at time.Duration) {
	l.rtt, l.at = max(rtt, 1), at // a nanosecond at least, for the logarithm's sake
	l.level.Store(math.Float64bits(math.Log(l.rtt) + float64(at)/l.decay))
}

func (l *load) logRTT() float64 { return math.Float64frombits(l.level.Load()) }

// pending returns the calls in hand.
func (l *load) pending() uint64 {
	ended := l.ended.Load() // first, lest a call be over that has not begun
	if picked := l.picked.Load(); picked > ended {
		return picked - ended
	}
	return 0
}

// estimate returns what the round trip is thought to be now.
func (l *load) estimate(now time.Duration) time.Duration {
	return time.Duration(math.Exp(l.logRTT() - float64(now)/l.decay))
}

// relative returns how many times m's round trip l's is, at any moment.
func (l *load) relative(m *load) float64 { return math.Exp(l.logRTT() - m.logRTT()) }

// calls returns what the calls in hand and one more come to, by which the round
// trip is multiplied. One in hand counts as each, which is 1 unless weights
// differ.
func (l *load) calls(each float64) float64 { return 1 + each*float64(l.pending()) }
