package balance

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
)

// A Gate says whether a balancer lets picks wait, or is failing fast.
type Gate struct {
	Open   bool      // false while failing fast
	Since  time.Time // when it last opened or shut
	Opened uint64    // how often it opened; once as it was made
	Shut   uint64    // how often it shut
}

// A gate is a Gate until it changes.
type gate struct {
	Gate
	changed chan struct{} // closed once another has taken its place
}

// A queue is where picks wait while no endpoint is ready. As soon as one is they
// all go, in the order in which they came. If that lasts too long the gate is
// shut.
type queue struct {
	failFast time.Duration
	capacity int64
	guard    *guard.Guard
	fail     func(error) error // says why no endpoint is ready; not to be called under mu

	waiting atomic.Int64 // the holder of mu changes it
	waited  atomic.Uint64
	gate    atomic.Pointer[gate] // the holder of mu stores it

	mu     sync.Mutex
	ready  bool    // whether an endpoint is, as settle was last told
	closed bool    // for good
	period *period // in which some have waited; nil if none has
}

// A period is the time from the first pick that finds no endpoint ready until
// one is, or until fail-fast strikes. It lasts even if that pick gives up.
type period struct {
	timer *time.Timer
	over  chan struct{}
	err   error // why the wait was in vain; set before over is closed
}

func newQueue(failFast time.Duration, capacity int, fail func(error) error) *queue {
	q := &queue{failFast: failFast, capacity: int64(capacity), fail: fail}
	q.gate.Store(&gate{Gate{Open: true, Since: time.Now(), Opened: 1}, make(chan struct{})})
	return q
}

// enter takes a place in the queue, to be given back by leave, or says why there
// is none.
func (q *queue) enter() error {
	if err := q.place(); err != nil {
		return q.fail(err)
	}
	return nil
}

func (q *queue) place() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed, !q.gate.Load().Open:
		return ErrUnavailable
	case q.waiting.Load() >= q.capacity:
		return ErrQueueFull
	}
	q.waiting.Add(1)
	q.waited.Add(1)
	return nil
}

// leave gives a place back. Whoever found an endpoint ready has ended the period
// for all.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.Add(-1)
	if q.ready {
		q.end(nil)
	}
}

// wait returns the period to wait for, for who has a place. The first who waits
// begins it.
func (q *queue) wait() (*period, error) {
	p, err := q.present()
	if err != nil {
		return nil, q.fail(err)
	}
	return p, nil
}

func (q *queue) present() (*period, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, ErrUnavailable
	case !q.gate.Load().Open: // since this pick took its place
		return nil, ErrFailFast
	case q.period == nil:
		p := &period{over: make(chan struct{})}
		p.timer = q.guard.AfterFunc(q.failFast, stage, func() { q.expire(p) })
		q.period = p
	}
	return q.period, nil
}

// settle is told, whenever endpoints have been asked, whether one is ready.
func (q *queue) settle(ready bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ready = ready
	if !ready || q.closed {
		return
	}
	q.swing(true)
	q.end(nil)
}

// expire ends a period that has lasted too long.
func (q *queue) expire(p *period) {
	err := q.fail(ErrFailFast)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.period != p: // it ended in time after all
	case q.ready: // those who wait may look again
		q.end(nil)
	default:
		q.swing(false)
		q.end(err)
	}
}

func (q *queue) close() {
	err := q.fail(ErrUnavailable)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.swing(false)
	q.end(err)
}

// end ends the present period, if there is one. The caller holds mu.
func (q *queue) end(err error) {
	if p := q.period; p != nil {
		q.period = nil
		p.timer.Stop()
		p.err = err
		close(p.over)
	}
}

// swing opens or shuts the gate, unless it is so already. The caller holds mu.
func (q *queue) swing(open bool) {
	old := q.gate.Load()
	if old.Open == open {
		return
	}
	next := &gate{Gate{Open: open, Since: time.Now(), Opened: old.Opened, Shut: old.Shut}, make(chan struct{})}
	if open {
		next.Opened++
	} else {
		next.Shut++
	}
	q.gate.Store(next)
	close(old.changed)
}
