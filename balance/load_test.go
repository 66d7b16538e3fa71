package balance

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A slowLoad is the load as its definition says it, with no trick: readers need
// the time, and compute everything.
type slowLoad struct {
	rtt     float64 // nanoseconds, as of at
	at      time.Duration
	pending int
	decay   time.Duration
}

func (s *slowLoad) weight(now time.Duration) float64 {
	return math.Exp(-float64(now-s.at) / float64(s.decay))
}

func (s *slowLoad) sample(rtt, now time.Duration) {
	r := float64(rtt)
	if r > s.rtt {
		s.rtt = r
	} else {
		w := s.weight(now)
		s.rtt = s.rtt*w + r*(1-w)
	}
	s.at = now
}

func (s *slowLoad) failed(took, now time.Duration) {
	if float64(took) > s.rtt {
		s.rtt = float64(took)
	}
	s.at = now
}

func (s *slowLoad) load(now time.Duration) float64 {
	return s.rtt * s.weight(now) * float64(s.pending+1)
}

// A pair is a load and its model.
type pair struct {
	real  *load
	model slowLoad
}

// step does one random thing to both.
func (p *pair) step(r *rand.Rand, now time.Duration) {
	rtt := time.Duration(1 + r.Int64N(int64(time.Microsecond)<<r.IntN(22)))
	switch r.IntN(4) {
	case 0:
		p.real.sample(rtt, now)
		p.model.sample(rtt, now)
	case 1:
		p.real.failed(rtt, now)
		p.model.failed(rtt, now)
	case 2:
		p.real.picked.Add(1)
		p.model.pending++
	case 3:
		if p.model.pending > 0 {
			p.real.ended.Add(1)
			p.model.pending--
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Max(math.Abs(a), math.Abs(b)) }

func TestLoadAgreesWithItsModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		decay := leastDecay << r.IntN(16)
		now := time.Duration(r.Int64N(int64(30 * 24 * time.Hour)))
		fresh := func() *pair {
			return &pair{newLoad(30*time.Millisecond, decay, now), slowLoad{rtt: 3e7, at: now, decay: decay}}
		}
		a, b := fresh(), fresh()
		for range 200 {
			now += time.Duration(r.Int64N(int64(decay)))
			[]*pair{a, b}[r.IntN(2)].step(r, now)
			x, y := a.model.load(now), b.model.load(now)
			if got := a.real.relative(b.real) * a.real.calls(1) / b.real.calls(1); !near(got, x/y) {
				t.Fatalf("seed %d: a's load is %v times b's, want %v", seed, got, x/y)
			}
			if got := float64(a.real.estimate(now)); math.Abs(got-x/float64(a.model.pending+1)) > 1+1e-6*x {
				t.Fatalf("seed %d: estimate %v, want %v", seed, got, x)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	const decay = 10 * time.Second
	for _, c := range []struct {
		name string
		do   func(*load)
		at   time.Duration
		want time.Duration
	}{
		{"starts at the default", func(*load) {}, 0, 30 * time.Millisecond},
		{"fades to 1/e", func(*load) {}, decay, 11036383 * time.Nanosecond},
		{"jumps to a peak", func(l *load) { l.sample(time.Second, decay) }, decay, time.Second},
		{"comes down slowly", func(l *load) { l.sample(0, time.Second) }, time.Second, 27145122 * time.Nanosecond},
		{"is not lowered by failures", func(l *load) { l.failed(time.Microsecond, decay) }, decay, 30 * time.Millisecond},
		{"is raised by failures", func(l *load) { l.failed(time.Second, decay) }, decay, time.Second},
		{
			"takes ends in either order",
			func(l *load) { l.sample(time.Second, decay); l.sample(time.Millisecond, 0) },
			decay, time.Second,
		},
		{"bears nothing at all", func(l *load) { l.sample(0, 100*decay) }, 100 * decay, time.Nanosecond},
		{"does not overflow", func(l *load) { l.sample(math.MaxInt64, decay) }, math.MaxInt64, 0},
	} {
		l := newLoad(30*time.Millisecond, decay, 0)
		c.do(l)
		if got := l.estimate(c.at); (got - c.want).Abs() > 1 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// An endpoint that answers in no time, after a very long one, is still to be
// compared with another.
func TestNoLoadIsNothing(t *testing.T) {
	l, m := newLoad(0, 0, 0), newLoad(0, 0, 0)
	l.sample(0, time.Hour)
	m.sample(0, time.Hour)
	if got := l.relative(m); got != 1 {
		t.Errorf("one is %v times the other, want as much", got)
	}
}

func TestLoadHasFloors(t *testing.T) {
	l := newLoad(0, -time.Hour, 0)
	if got := l.estimate(0); got < leastRTT-1 {
		t.Errorf("a new estimate is %v, want at least %v", got, leastRTT)
	}
	if got := l.estimate(leastDecay); got < leastRTT/3 {
		t.Errorf("after %v it has faded to %v", leastDecay, got)
	}
}

func TestPendingIsNeverNegative(t *testing.T) {
	l := newLoad(0, 0, 0)
	l.ended.Add(1) // a Call that was copied and ended twice
	if got := l.pending(); got != 0 {
		t.Errorf("pending %d", got)
	}
}
