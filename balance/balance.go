package balance

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/guard"
)

// A Config says how a destination's work is shared.
type Config struct {
	Name       string        // the destination, for errors
	DefaultRTT time.Duration // thought of an endpoint that has not answered yet; at least 1 ms
	Decay      time.Duration // in which an estimate fades to 1/e; at least 1 ms
	FailFast   time.Duration // how long a pick may wait with no endpoint ready; zero not at all
	Capacity   int           // picks that wait at one time, at most; zero lets none wait

	// Rand returns a number in [0, n), all as likely. Nil is math/rand's; a test gives its own.
	Rand func(n uint64) uint64
	// Now returns the time since some moment, the same for all who report to the
	// balancer. Nil is a clock of its own.
	Now func() time.Duration
	// Guard is told of panics on goroutines of the balancer's own. It may be nil.
	Guard *guard.Guard
}

// A Build makes what serves one endpoint, and says how to see whether that can
// take work. A nil ready means always.
//
// ctx ends when the endpoint is gone or a later Build has replaced it. What is
// in hand goes on to its end, and so does the work of a Pick that was just
// choosing it: svc must take that.
//
// changed must be called whenever what ready reports may have changed; it may be
// called at any time, by anyone, with any lock held. ready is asked often, by
// many at once; it answers at once, changes nothing, and calls nothing of the
// Balancer's, nor does Build but for changed.
type Build[S any] func(ctx context.Context, e discover.Endpoint, changed func()) (svc S, ready func() bool)

// A Hint is what a Pick should heed.
type Hint struct {
	// Avoid are endpoints to be passed over if another is ready, such as those
	// that a retry has tried.
	Avoid []discover.Key
	// Now is the time by Config.Now; zero means that the balancer is to look.
	Now time.Duration
}

// A Balancer picks among the S that serve one destination's endpoints. One
// goroutine gives it their sets, by Update; any number pick.
type Balancer[S any] struct {
	ctx   context.Context // of the balancer's life, and so of its endpoints'
	c     Config
	build Build[S]

	// Those that were ready when last asked. The holder of asking stores it.
	roster atomic.Pointer[roster[S]]
	// Whether an endpoint has called changed since the roster was made.
	dirty atomic.Bool

	// Held while endpoints are built and asked whether they are ready, which
	// calls out of this package. changed never takes it.
	asking  sync.Mutex
	members atomic.Pointer[members[S]] // the holder of asking stores it
	looking atomic.Bool                // whether a goroutine is about to look, in follow
	updates atomic.Uint64

	queue *queue
}

// New returns a Balancer that has yet to hear of endpoints: until its first
// Update none is ready. It calls build for each that comes, until ctx ends; then
// every endpoint's context ends, and every Pick fails with ErrUnavailable.
func New[S any](ctx context.Context, c Config, build Build[S]) *Balancer[S] {
	if c.Rand == nil {
		c.Rand = rand.Uint64N
	}
	if c.Now == nil {
		epoch := time.Now()
		c.Now = func() time.Duration { return time.Since(epoch) }
	}
	b := &Balancer[S]{ctx: ctx, c: c, build: build}
	b.queue = newQueue(c.FailFast, c.Capacity, b.fail)
	b.queue.guard = c.Guard
	b.members.Store(&members[S]{})
	b.roster.Store(&roster[S]{})
	c.Guard.AfterDone(ctx, stage, b.close)
	return b
}

// Pick returns the service of the endpoint that is to do the next piece of work,
// and the Call to report it to. It waits until one is ready, ctx ends, or
// fail-fast strikes; its error is then an *Error. The wait is no part of what
// the Call measures.
func (b *Balancer[S]) Pick(ctx context.Context, h Hint) (S, Call, error) {
	guard.Point("pick")
	e, start := b.choose(h.Avoid), h.Now
	if e == nil {
		var err error
		if e, err = b.await(ctx, h.Avoid); err != nil {
			var none S
			return none, Call{}, err
		}
		start = 0
	}
	if start == 0 {
		start = b.c.Now()
	}
	e.load.picked.Add(1)
	return e.svc, Call{of: &e.of, load: e.load, now: b.c.Now, start: start}, nil
}

// Ready reports whether a Pick may succeed: false while failing fast.
func (b *Balancer[S]) Ready() bool { return b.queue.gate.Load().Open }

// Gate returns whether picks may succeed, as Ready does, and a channel that is
// closed when that has changed.
func (b *Balancer[S]) Gate() (Gate, <-chan struct{}) {
	g := b.queue.gate.Load()
	return g.Gate, g.changed
}

// stage is where what panics on a goroutine of the balancer's own is caught.
const stage = "balancer"

// How often choose draws again because the one drawn turned out not to be ready.
// Each such time it has asked all endpoints anew, so more than one is a rare race.
const redraws = 4

// choose returns the endpoint to take, or nil if none is ready.
func (b *Balancer[S]) choose(avoid []discover.Key) *endpoint[S] {
	for range redraws {
		if b.dirty.Load() {
			b.refresh()
		}
		e := b.roster.Load().pick(b.c.Rand, avoid)
		if e == nil || e.isReady() {
			return e
		}
		b.dirty.Store(true) // it has just ceased to be ready, and is about to say so
	}
	return nil
}

// await chooses once there is something to choose from.
func (b *Balancer[S]) await(ctx context.Context, avoid []discover.Key) (*endpoint[S], error) {
	if err := b.queue.enter(); err != nil {
		return nil, err
	}
	defer b.queue.leave()
	for {
		p, err := b.queue.wait() // before choose, so that no change goes unseen
		if err != nil {
			return nil, err
		}
		if e := b.choose(avoid); e != nil {
			return e, nil
		}
		select {
		case <-p.over:
			if p.err != nil {
				return nil, p.err
			}
		case <-ctx.Done():
			return nil, b.fail(context.Cause(ctx))
		}
	}
}

// close is called once ctx has ended.
func (b *Balancer[S]) close() {
	b.queue.close()
	b.asking.Lock()
	defer b.asking.Unlock()
	b.roster.Store(&roster[S]{})
}
